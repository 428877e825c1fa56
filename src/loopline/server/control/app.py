"""The control plane's application: every route behind one guard, inside one edge."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from loopline.access.identity import Identity
from loopline.clock import Clock, SystemClock
from loopline.errors import InvalidInput
from loopline.loop.pushes import Intakes
from loopline.loop.resources import Resources
from loopline.server.control.edge import Edge
from loopline.server.control.guard import guard, need_of
from loopline.server.control.problem import answer
from loopline.server.control.routes import (
    approvals,
    decisions,
    erasures,
    freeze,
    health,
    hooks,
    incidents,
    labels,
    ledger,
    login,
    metrics,
    models,
    pages,
    principals,
    reviews,
    runs,
    sources,
    status,
    tables,
    tokens,
    variants,
    why,
)
from loopline.server.control.routes.description import description

BODY_LIMIT = 1 << 20
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

_API: tuple[ControllerRouterHandler, ...] = (
    status.read_status,
    *models.HANDLERS,
    *variants.HANDLERS,
    *decisions.HANDLERS,
    *incidents.HANDLERS,
    *approvals.HANDLERS,
    *reviews.HANDLERS,
    *freeze.HANDLERS,
    *erasures.HANDLERS,
    why.explain,
    *ledger.HANDLERS,
    *tables.HANDLERS,
    *runs.HANDLERS,
    *tokens.HANDLERS,
    *principals.HANDLERS,
    labels.push,
    *sources.HANDLERS,
    hooks.receive,
)
_ROOT: tuple[ControllerRouterHandler, ...] = (*health.HANDLERS, metrics.read_metrics, *login.HANDLERS, *pages.HANDLERS)


def control_app(
    resources: Resources,
    *,
    hosts: Collection[str] = LOOPBACK,
    origin: str | None = None,
    clock: Clock | None = None,
    intakes: Intakes | None = None,
    also: Sequence[ControllerRouterHandler] = (),
) -> Edge:
    """The ASGI application over an opened home.

    `hosts` are the names and addresses it answers to, each with a port or, for any port, without. `origin` is how browsers
    see it where a proxy stands before it, such as `https://loopline.example.org`; else it is what a request's own Host says.
    `intakes` are the sources that rows may be pushed to. `also` are further route handlers and mounts, which the same guard protects. Tokens and logins end by `clock`, by default
    the machine's, whatever the loop's clock says. Serve it without an access log: the address of a login holds its secret.
    Raises `InvalidInput` "server.route_without_permission".
    """
    machine_clock = clock or SystemClock()
    pushed_to = intakes or Intakes({})
    routes = [Router("/api/v1", route_handlers=_API), *_ROOT, *also]
    dependencies = {
        "home": Provide(lambda: resources, sync_to_thread=False),
        "machine_clock": Provide(lambda: machine_clock, sync_to_thread=False),
        "intakes": Provide(lambda: pushed_to, sync_to_thread=False),
        "caller": Provide(_caller, sync_to_thread=False),
    }
    app = Litestar(
        [*routes, description(routes, dependencies)],
        guards=[guard(resources, machine_clock, origin)],
        dependencies=dependencies,
        exception_handlers={Exception: answer},
        request_max_body_size=BODY_LIMIT,
        openapi_config=None,
        logging_config=None,
        state=State({"origin": origin or ""}),
    )
    _refuse_undeclared(app)
    return Edge(app, hosts)


def _caller(request: Request[Identity, Any, Any]) -> Identity:
    return request.user


def _refuse_undeclared(app: Litestar) -> None:
    """A route that forgot its permission is a mistake of ours, found when the server starts and not when it is attacked."""
    bare = sorted(str(handler) for handler in declared_handlers(app) if need_of(handler) is None)
    if bare:
        raise InvalidInput(
            "server.route_without_permission",
            f"routes declare no permission: {', '.join(bare)}",
            remedy="Give each `permission=`: a Permission, AnyToken(reason) or Public(reason).",
        )


def declared_handlers(app: Litestar) -> Iterator[BaseRouteHandler]:
    """Every handler of every route and mount, but for the answers to OPTIONS that the framework adds: those nobody may ask."""
    for route in app.routes:
        handlers = route.route_handlers if isinstance(route, HTTPRoute) else [route.route_handler]
        for handler in handlers:
            if getattr(handler, "http_methods", None) != {"OPTIONS"}:
                yield handler
