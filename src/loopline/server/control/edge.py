"""What holds for every request before a route is looked for, and for every answer after: host, methods, headers."""

from collections.abc import Collection
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from loopline.errors import InvalidInput
from loopline.server.control.problem import problem

_HEADERS = {
    b"content-security-policy": (
        b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    # With "no-referrer" browsers send `Origin: null` with a form, and it could not be told from another site's.
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class Edge:
    """Wraps the application `app`; answers only requests for one of `hosts`: names or addresses, each with a port or,
    for any port, without.

    A page elsewhere can make its own name resolve to this machine; the browser then sends that name as Host.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind: str = scope["type"]
        if kind == "http":
            await self._serve(scope, receive, _with_headers(send))
        elif kind == "lifespan":
            await self.app(scope, receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "no websockets here"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check_host(scope)
            _check_text(scope)
        except InvalidInput as refused:
            await _answer(refused, send)
            return
        await self.app(scope, receive, send)

    def _check_host(self, scope: Scope) -> None:
        named = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
        if len(named) != 1 or self._hosts.isdisjoint({named[0], _without_port(named[0])}):
            raise InvalidInput(
                "http.wrong_host",
                "this server answers only to its own names",
                remedy="Call it by the name it was given, or add the name to the hosts it is started with.",
            )


def _check_text(scope: Scope) -> None:
    """No database keeps a NUL character in a text."""
    if "\x00" in scope["path"] or b"%00" in scope["query_string"] or b"\x00" in scope["query_string"]:
        raise InvalidInput("http.bad_text", "the address holds a NUL character", remedy="Leave it out.")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if name.lower() not in _HEADERS]
            message["headers"] = [*kept, *_HEADERS.items()]
        await send(message)

    return sending


async def _answer(error: InvalidInput, send: Send) -> None:
    told = problem(error)
    headers: list[Any] = [(name.encode(), value.encode()) for name, value in told.headers.items()]
    headers += [(b"content-type", told.media_type.encode()), (b"content-length", str(len(told.body)).encode())]
    await send({"type": "http.response.start", "status": told.status, "headers": headers})
    await send({"type": "http.response.body", "body": told.body, "more_body": False})
