"""One connection: HTTP/1.1 over asyncio, parsed by httptools, answered in the order in which requests came.

A handler that has its answer at once gives it without a task, a queue or a wait in between: for a small model those cost more
than scoring does. What would hurt everyone is refused early: a body that is too large before it is read, endless headers, a
caller who sends a byte a minute.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable
from functools import partial
from time import perf_counter
from typing import Protocol

import httptools

from loopline.errors import InvalidInput, LooplineError
from loopline.server.scoring.busy_poll import BusyPoll
from loopline.server.scoring.heads import Head, Heads
from loopline.server.scoring.http import BODY_LIMIT, Request, Response
from loopline.server.scoring.later import Later

HEADERS_LIMIT = 32 << 10
READING_SECONDS = 30.0
IDLE_SECONDS = 75.0
_WAITING_LIMIT = 32
_LINGER_SECONDS = 1.0


class Application(Protocol):
    """What a connection needs of the rest. `date` is the present as HTTP writes it; `draining` says that no more is begun."""

    date: bytes
    draining: bool

    def handle(self, request: Request) -> Response | Later | Awaitable[Response]: ...

    def refuse(self, error: Exception) -> Response: ...

    def too_many(self, connections: int) -> Exception | None: ...


class Connection(asyncio.Protocol):
    """Reads requests and writes answers. `peers` are all open connections of the worker, this one among them; `heads` those that any of
    them got, `poll` is what keeps them awake.
    """

    def __init__(
        self,
        app: Application,
        peers: "set[Connection]",
        loop: asyncio.AbstractEventLoop,
        heads: Heads | None = None,
        poll: BusyPoll | None = None,
    ) -> None:
        self._app = app
        self._peers = peers
        self._heads = heads or Heads()
        self._poll = poll or BusyPoll(loop)
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._busy = False
        self._full = False
        self._held = False
        self._refused = False
        self._last = False
        self._complete: list[Head] = []
        self.since = perf_counter()
        self._begin()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: no request being read, none being answered."""
        return not (self._busy or self._waiting or self._reading)

    def close(self) -> None:
        """Close once what was written is sent."""
        self._transport.close()

    def expire(self, now: float) -> None:
        """Close where a request takes too long to arrive, or none came for long."""
        if self._reading and now - self._arrived > READING_SECONDS:
            self._refuse(_slow())
        elif self.idle and now - self.since > IDLE_SECONDS:
            self.close()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")  # noqa: S101 - uvloop's has no base class
        self._transport = transport  # type: ignore[assignment]
        self._peers.add(self)
        too_many = self._app.too_many(len(self._peers))
        if too_many is not None:
            self._refuse(too_many)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        self._peers.discard(self)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self.since = perf_counter()
        found, whole = None, not self._reading
        if whole:
            self._poll.arrived(id(self), self.since)
            found = self._heads.find(data)
        if found is not None:
            head, body = found
            self._take(self._request(head, body, self.since), keep=head.keep)
            return
        self._complete.clear()
        try:
            self._parser.feed_data(data)
            if whole and len(self._complete) == 1 and not self._reading:
                self._heads.keep(data, self._complete[0])
        except httptools.HttpParserCallbackError as error:
            self._refuse(error.__context__ if isinstance(error.__context__, LooplineError) else _malformed())
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(_malformed())

    def eof_received(self) -> bool:
        """A caller may close its side and still wait for answers: the last of them closes ours."""
        self._last = True
        return self._busy or bool(self._waiting)

    def pause_writing(self) -> None:
        self._full = self._held = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        self._next()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._begin()
        self._reading = True
        self._arrived = self.since

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value
        self._count(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        length = self._headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > BODY_LIMIT:
            raise _too_large()
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > BODY_LIMIT:
            raise _too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        method = self._parser.get_method().decode("ascii")
        head = Head(method, self._target, self._headers, self._size, self._parser.should_keep_alive())
        self._reading = False
        self._complete.append(head)
        self._take(self._request(head, body, self._arrived), keep=head.keep)

    # The rest.

    def _request(self, head: Head, body: bytes, arrived: float) -> Request:
        return Request(head.method, head.target, head.headers, body, arrived, self._poll.alone)

    def _take(self, request: Request, *, keep: bool) -> None:
        if self._busy or self._full:
            self._waiting.append((request, keep))
            if len(self._waiting) >= _WAITING_LIMIT:
                self._held = True
                self._transport.pause_reading()
        else:
            self._answer(request, keep=keep)

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._head = 0
        self._reading = False
        self._arrived = 0.0

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > HEADERS_LIMIT:
            raise InvalidInput(
                "http.headers_too_large",
                f"the request's head exceeds {HEADERS_LIMIT} bytes",
                remedy="Send fewer or shorter headers.",
            )

    def _answer(self, request: Request, *, keep: bool) -> None:
        answer = self._app.handle(request)
        if isinstance(answer, Response):
            self._write(answer, keep=keep)
            return
        self._busy = True
        if isinstance(answer, Later):
            answer.then(partial(self._came, keep=keep))
        else:
            task = self._loop.create_task(self._wait(answer, keep=keep))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    def _came(self, response: Response, *, keep: bool) -> None:
        self._busy = False
        self._write(response, keep=keep)
        if self._waiting or self._held or self._last:
            self._next()

    async def _wait(self, answer: Awaitable[Response], *, keep: bool) -> None:
        try:
            response = await answer
        except Exception as error:
            response = self._app.refuse(error)
        self._busy = False
        self._write(response, keep=keep)
        self._next()

    def _next(self) -> None:
        while self._waiting and not (self._busy or self._full or self._transport.is_closing()):
            request, keep = self._waiting.popleft()
            self._answer(request, keep=keep)
        if not (self._busy or self._full or self._transport.is_closing()):
            self._held = False
            if self._last:
                self._transport.close()
            else:
                self._transport.resume_reading()

    def _write(self, response: Response, *, keep: bool) -> None:
        if self._transport.is_closing():
            return
        keep = keep and not self._app.draining
        self._transport.write(response.encoded(date=self._app.date, close=not keep))
        self._poll.answered()
        if not keep:
            self._waiting.clear()
            self._transport.close()

    def _refuse(self, error: Exception) -> None:
        """Say what is wrong and hear no more. What is still being sent is let in for a moment, so that the answer is not lost in
        the reset of a connection that is closed with bytes unread.
        """
        self._refused = True
        self._transport.write(self._app.refuse(error).encoded(date=self._app.date, close=True))
        self._loop.call_later(_LINGER_SECONDS, self._transport.close)


_tasks: set[asyncio.Task[None]] = set()
"""Answers under way: asyncio itself holds tasks only weakly."""


def _too_large() -> InvalidInput:
    return InvalidInput(
        "http.body_too_large", f"the body exceeds {BODY_LIMIT} bytes", remedy="Send fewer rows in one request."
    )


def _slow() -> InvalidInput:
    return InvalidInput(
        "http.too_slow",
        f"the request did not arrive within {READING_SECONDS:g} s",
        remedy="Send it in one go, or fewer rows.",
    )


def _malformed() -> InvalidInput:
    return InvalidInput("http.malformed", "this is no HTTP/1.1 request", remedy="Check what sends it.")
