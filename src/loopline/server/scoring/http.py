"""As much of HTTP as the scoring process needs: a request as it arrived, and a response as bytes."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

BODY_LIMIT = 8 << 20

_JSON = ((b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff"))
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_encoder = msgspec.json.Encoder()


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request that has arrived whole. `target` is the path with its query, still encoded; names of headers are in lower case, and
    of several with one name the last counts. `arrived` is when its first byte was read, by `time.perf_counter`; `alone` says that nobody
    else asked of late.
    """

    method: str
    target: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    arrived: float
    alone: bool = False

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]


class Response(msgspec.Struct, frozen=True, gc=False):
    """Status, headers and body of an answer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @classmethod
    def json(cls, value: Any, *, status: int = 200) -> "Response":
        """`value` as JSON; structs, dates and the like as msgspec writes them."""
        return cls(status, _JSON, _encoder.encode(value))

    @classmethod
    def encoded_json(cls, body: bytes) -> "Response":
        """JSON that is encoded already."""
        return cls(200, _JSON, body)

    @classmethod
    def text(cls, body: str, content_type: str) -> "Response":
        """Text in UTF-8."""
        return cls(200, ((b"content-type", content_type.encode()),), body.encode())

    def with_header(self, name: bytes, value: bytes) -> "Response":
        """The same with one header more."""
        return msgspec.structs.replace(self, headers=(*self.headers, (name, value)))

    def encoded(self, *, date: bytes, close: bool) -> bytes:
        """The whole answer as it goes out."""
        fields = _fields(self.headers)
        end = b"connection: close\r\n\r\n" if close else b"\r\n"
        return b"HTTP/1.1 %d %s\r\ndate: %s\r\n%scontent-length: %d\r\n%s%s" % (
            self.status,
            _REASONS.get(self.status, b"Status"),
            date,
            fields,
            len(self.body),
            end,
            self.body,
        )


_JSON_FIELDS = b"content-type: application/json\r\nx-content-type-options: nosniff\r\n"


def _fields(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    if headers is _JSON:
        return _JSON_FIELDS
    return b"".join(b"%s: %s\r\n" % (name, value) for name, value in headers)
