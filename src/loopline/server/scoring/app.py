"""The ASGI application: finds the route, checks who asks, answers, counts; and follows the manifests while it lives."""

import asyncio
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from time import perf_counter

import structlog

from loopline.access.identity import Identity, require
from loopline.clock import Clock
from loopline.errors import InvalidInput, LooplineError, NotPermitted, Unavailable, trace
from loopline.server.scoring.endpoints import Endpoints
from loopline.server.scoring.http import ClientGone, Receive, Response, Scope, Send, body, headers
from loopline.server.scoring.loading import Loader, sequences
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.problem import problem
from loopline.server.scoring.routes import Call, Public, Route, Router
from loopline.server.scoring.serving import Serving

LOOPBACK_HOSTS = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})

_NO_ROUTE = "none"
_log = structlog.get_logger(__name__)


class App:
    """One scoring process's application. `tick` is called every `interval` seconds while it lives, `close` at its end."""

    def __init__(
        self,
        loader: Loader,
        endpoints: Endpoints,
        metrics: Metrics,
        *,
        clock: Clock,
        host: str,
        tick: Callable[[], None],
        close: Callable[[], None],
        interval: float = 0.5,
    ) -> None:
        self.serving = Serving()
        self.router = Router(endpoints.routes())
        self._loader = loader
        self._metrics = metrics
        self._clock = clock
        # A page in a browser can make it resolve any name to this machine; only its own names are answered then.
        self._hosts = LOOPBACK_HOSTS if _is_loopback(host) else None
        self._tick = tick
        self._close = close
        self._interval = interval

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        path = _NO_ROUTE
        try:
            found = headers(scope)
            self._check_origin(found)
            route, params = self.router.find(scope["method"], scope["raw_path"])
            path = route.path
            response = await self._answer(route, params, found, receive)
        except ClientGone:
            return
        except Exception as error:  # an answer is owed whatever happens
            response = problem(error)
            if response.status >= 500 and not isinstance(error, Unavailable):  # noqa: PLR2004 - ours, not the caller's
                _log.error("request failed", route=path, exception=trace(error))
        self._metrics.count_request(path, response.status, perf_counter() - started)
        await response.send(send)

    async def _answer(
        self, route: Route, params: Mapping[str, str], found: Mapping[bytes, bytes], receive: Receive
    ) -> Response:
        serving = self.serving
        identity = None if isinstance(route.permission, Public) else self._identify(serving, route, params, found)
        content = await body(receive, found)
        return await route.handler(Call(serving, identity, params, found, content))

    def _identify(
        self, serving: Serving, route: Route, params: Mapping[str, str], found: Mapping[bytes, bytes]
    ) -> Identity:
        scheme, _, secret = found.get(b"authorization", b"").decode("latin-1").partition(" ")
        secret = secret.strip() if scheme.lower() == "bearer" else ""
        identity = serving.identify(secret, self._clock.now(), params.get("endpoint"))
        if not isinstance(route.permission, Public):
            require(identity, route.permission)
        return identity

    def _check_origin(self, found: Mapping[bytes, bytes]) -> None:
        if self._hosts is not None and _name(found.get(b"host", b"")) not in self._hosts:
            raise InvalidInput(
                "http.wrong_host",
                "this process answers only to its own name",
                remedy="Call it as localhost or 127.0.0.1, or bind it to the address it is to be called at.",
            )
        if found.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}:
            raise NotPermitted(
                "http.cross_site", "requests from pages of other sites are refused", remedy="Call from a program."
            )

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._reload()
        follower = asyncio.create_task(self._follow())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        follower.cancel()
        await asyncio.to_thread(self._close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                self._tick()
                if self._loader.changed():
                    await self._reload()
            except (LooplineError, OSError) as error:  # the next round tries again
                _log.error("following failed", error=repr(error))

    async def _reload(self) -> None:
        self.serving = await asyncio.to_thread(self._loader.load, self.serving)
        self._metrics.manifest_sequences = dict(sequences(self.serving))
        self._metrics.manifests_refused = self._loader.refused


def _name(host: bytes) -> bytes:
    """The host without its port."""
    return host[: host.index(b"]") + 1] if host.startswith(b"[") and b"]" in host else host.partition(b":")[0]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
