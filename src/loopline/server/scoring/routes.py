"""Routes: a method, a path and the permission it needs. Each declares one; only those said to be public need no token."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import msgspec

from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.errors import InvalidInput, NotFound
from loopline.server.scoring.http import Response
from loopline.server.scoring.later import Later
from loopline.server.scoring.problem import problem
from loopline.server.scoring.serving import Serving
from loopline.server.scoring.tracing import Trace

_REMEMBERED = 1024


@dataclass(frozen=True)
class Public:
    """Says that a route needs no token, and why."""

    reason: str


class Call(msgspec.Struct, frozen=True, gc=False):
    """A request that was let in: the serving state it sees to its end, and what it brought. It is `alone` where nobody else asked of late."""

    serving: Serving
    identity: Identity | None
    params: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes
    arrived: float
    trace: Trace | None = None
    alone: bool = False


Handler = Callable[[Call], Response | Later | Awaitable[Response]]
"""Answers a call: at once where it can, for a wait costs more than a small model. What a `Later` brings is a response or an exception."""

Resolve = Callable[[Serving, Mapping[bytes, bytes]], Mapping[str, str]]
"""Finds what a path leaves open in what is served and in the request's headers: before the caller is identified, for a token
permits something in a project."""


def nothing_more(serving: Serving, headers: Mapping[bytes, bytes]) -> Mapping[str, str]:  # noqa: ARG001 - as `Resolve`
    """A path leaves nothing open."""
    return {}


@dataclass(frozen=True)
class Route:
    """`path` has parts in braces, e.g. `/v2/models/{model}`; `permission` says who may call it, `told` how errors are told."""

    method: str
    path: str
    permission: Permission | Public
    handler: Handler
    told: Callable[[Exception], Response] = problem
    resolve: Resolve = nothing_more

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the path between the slashes."""
        return tuple(self.path.strip("/").split("/"))


class Router:
    """Finds the route of a request by comparing part by part."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._known: dict[tuple[str, bytes], tuple[Route, dict[str, str]]] = {}
        self._by_length: dict[int, list[Route]] = {}
        for route in routes:
            self._by_length.setdefault(len(route.parts), []).append(route)

    def find(self, method: str, raw_path: bytes) -> tuple[Route, Mapping[str, str]]:
        """The route, and the values of the parts in braces.

        The path is split before its percent signs are resolved, so an encoded slash stays within its part. Raises
        `NotFound` "http.no_route" and `InvalidInput` "http.method_not_allowed".
        """
        known = self._known.get((method, raw_path))
        if known is None:
            known = self._find(method, raw_path)
            if len(self._known) < _REMEMBERED:
                self._known[method, raw_path] = known
        return known

    def _find(self, method: str, raw_path: bytes) -> tuple[Route, dict[str, str]]:
        parts = [unquote_to_bytes(part).decode("utf-8", "replace") for part in raw_path.strip(b"/").split(b"/")]
        matches = [
            (route, params)
            for route in self._by_length.get(len(parts), ())
            if (params := _match(route.parts, parts)) is not None
        ]
        for route, params in matches:
            if route.method == method:
                return route, params
        if matches:
            allowed = sorted({route.method for route, _ in matches})
            raise InvalidInput(
                "http.method_not_allowed",
                "this path does not take that method",
                remedy=f"Use {' or '.join(allowed)}.",
                allowed=allowed,
            )
        raise NotFound(
            "http.no_route", "there is nothing at this path", remedy="Predictions: POST /predict/{endpoint}."
        )


def _match(pattern: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    params = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            params[wanted[1:-1]] = part
        elif wanted != part:
            return None
    return params
