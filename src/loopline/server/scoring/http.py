"""As much of HTTP over ASGI as the scoring process needs: a body with a limit, and a response."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from loopline.errors import InvalidInput

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_LIMIT = 8 << 20

_JSON = ((b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff"))
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True)
class Response:
    """Status, headers and body of an answer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @classmethod
    def json(cls, value: Any, *, status: int = 200) -> "Response":
        return cls(status, _JSON, _encoder.encode(value))

    @classmethod
    def text(cls, body: str, content_type: str) -> "Response":
        return cls(200, ((b"content-type", content_type.encode()),), body.encode())

    def with_header(self, name: bytes, value: bytes) -> "Response":
        return replace(self, headers=(*self.headers, (name, value)))

    async def send(self, send: Send) -> None:
        headers = [*self.headers, (b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def headers(scope: Scope) -> dict[bytes, bytes]:
    """The request's headers, names in lower case; of several with one name the last."""
    return dict(scope["headers"])


async def body(receive: Receive, found: Mapping[bytes, bytes], *, limit: int = BODY_LIMIT) -> bytes:
    """The request's body. Raises `InvalidInput` "http.body_too_large" as soon as it is known to exceed `limit` bytes, and
    "http.encoding_not_supported" for a compressed one.
    """
    if found.get(b"content-encoding", b"identity") != b"identity":
        raise InvalidInput(
            "http.encoding_not_supported", "compressed bodies are not taken here", remedy="Send the body as it is."
        )
    length = found.get(b"content-length", b"0")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > limit:
            raise _too_large(limit)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class ClientGone(Exception):
    """The caller closed the connection before its request was complete; nobody waits for an answer."""


def _too_large(limit: int) -> InvalidInput:
    return InvalidInput(
        "http.body_too_large", f"the body exceeds {limit} bytes", remedy="Send fewer rows in one request."
    )
