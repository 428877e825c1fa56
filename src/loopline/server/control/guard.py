"""Who may call a route: decided at the route that was found, by the permission it declares, never by the path."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from loopline.access.identity import Identity, require
from loopline.access.permissions import Permission
from loopline.access.tokens import authenticate
from loopline.clock import Clock
from loopline.errors import NotPermitted
from loopline.loop.resources import Resources
from loopline.server.control.places import require_place
from loopline.server.control.session import session_secret

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


@dataclass(frozen=True)
class Public:
    """Says that a route needs no token, and why."""

    reason: str


@dataclass(frozen=True)
class AnyToken:
    """Says that a route needs a token but no permission, and why."""

    reason: str


Need = Permission | Public | AnyToken


def need_of(handler: BaseRouteHandler) -> Need | None:
    """What the route declares under `permission`; None where it declares nothing, and nobody may call it."""
    declared = handler.opt.get("permission")
    return declared if isinstance(declared, (Permission, Public, AnyToken)) else None


def guard(resources: Resources, clock: Clock, origin: str | None) -> Guard:
    """The guard of every route; tokens end by `clock`. It leaves the `Identity` as the request's user.

    It raises `NotAuthenticated`, `NotPermitted`, and `NotFound` where the path speaks of a project or model that is not there.
    """

    def admit(secret: str | None, need: Need | None, path: Mapping[str, Any]) -> Identity:
        with resources.database.reading() as tx:
            identity = authenticate(tx, secret, clock.now())
            _require(identity, need)
            require_place(tx, path)
        return identity

    async def check(connection: Connection, handler: BaseRouteHandler) -> None:
        need = need_of(handler)
        if isinstance(need, Public):
            return
        secret = session_secret(connection, origin)
        connection.scope["user"] = await asyncio.to_thread(admit, secret, need, connection.path_params)

    return check


def _require(identity: Identity, need: Need | None) -> None:
    if need is None:
        raise NotPermitted("access.undeclared", "this is permitted to nobody", remedy="Use what the API describes.")
    if isinstance(need, Permission):
        require(identity, need)
