"""The application of one worker: finds the route, checks who asks, answers, counts."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from time import perf_counter

import structlog

from loopline.access.identity import Identity, require
from loopline.clock import Clock
from loopline.errors import InvalidInput, NotPermitted, Unavailable, trace
from loopline.server.scoring.access_log import AccessLog
from loopline.server.scoring.credentials import secret_of
from loopline.server.scoring.following import Follower, may_be_news
from loopline.server.scoring.http import Request, Response
from loopline.server.scoring.later import Later
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.problem import problem
from loopline.server.scoring.routes import Call, Public, Route, Router, nothing_more
from loopline.server.scoring.serving import Serving
from loopline.server.scoring.tracing import Trace, TraceIds, Tracing

LOOPBACK_HOSTS = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
CONNECTIONS_LIMIT = 2000

_NO_ROUTE = "none"
_log = structlog.get_logger(__name__)


class _Told:
    """A request on its way to an answer, as far as it is known."""

    __slots__ = ("identity", "problem", "request", "route", "trace")

    def __init__(self, request: Request, trace: Trace | None) -> None:
        self.request = request
        self.trace = trace
        self.route = _NO_ROUTE
        self.problem: Callable[[Exception], Response] = problem
        self.identity: Identity | None = None


class App:
    """Answers requests by what is served at the moment they arrive. `serving` is replaced as a whole."""

    def __init__(
        self,
        routes: Sequence[Route],
        metrics: Metrics,
        *,
        clock: Clock,
        host: str,
        tracing: Tracing | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self.serving = Serving()
        self.router = Router(routes)
        self.date = b"Thu, 01 Jan 1970 00:00:00 GMT"
        self.draining = False
        self.follower: Follower | None = None
        self._metrics = metrics
        self._tracing = tracing or TraceIds()
        self._access_log = access_log
        self._clock = clock
        # A page in a browser can make it resolve any name to this machine; only its own names are answered then.
        self._hosts = LOOPBACK_HOSTS if _is_loopback(host) else None

    def handle(self, request: Request) -> Response | Later | Awaitable[Response]:
        """The answer, or what to wait for; whatever happens, an answer is owed."""
        told = _Told(request, self._tracing.begin(request.headers, request.arrived))
        try:
            found = self._found(told)
        except Exception as error:
            if self.follower is not None and may_be_news(error, self.follower):
                return self._waited(told, self._later(told, self.follower))
            return self._ended(told, self.refuse(error, told.problem))
        if isinstance(found, Response):
            return self._ended(told, found)
        return found.then(partial(self._came, told)) if isinstance(found, Later) else self._waited(told, found)

    def _found(self, told: "_Told") -> Response | Later | Awaitable[Response]:
        request = told.request
        self._check_origin(request.headers)
        route, params = self.router.find(request.method, request.path)
        told.route, told.problem = route.path, route.told
        call = self._call(route, params, told)
        told.identity = call.identity
        return route.handler(call)

    async def _later(self, told: "_Told", follower: Follower) -> Response:
        """Once more, with the manifests as they are now."""
        await follower.catch_up()
        found = self._found(told)
        if isinstance(found, Response):
            return found
        return await (found.awaited() if isinstance(found, Later) else found)

    def refuse(self, error: Exception, told: Callable[[Exception], Response] = problem) -> Response:
        """The answer that tells of an error."""
        response = told(error)
        if response.status >= 500 and not isinstance(error, Unavailable):  # noqa: PLR2004 - ours, not the caller's
            _log.error("request failed", exception=trace(error))
        return response

    def too_many(self, connections: int) -> Exception | None:
        """Why another connection is not taken, None where it is."""
        if connections <= CONNECTIONS_LIMIT:
            return None
        return Unavailable(
            "http.too_many_connections",
            f"{CONNECTIONS_LIMIT} connections are open already",
            remedy="Keep connections and use them again; or serve with more workers.",
        )

    def _came(self, told: "_Told", found: Response | Exception) -> Response:
        response = found if isinstance(found, Response) else self.refuse(found, told.problem)
        return self._ended(told, response)

    async def _waited(self, told: "_Told", found: Awaitable[Response]) -> Response:
        try:
            response = await found
        except Exception as error:
            response = self.refuse(error, told.problem)
        return self._ended(told, response)

    def _ended(self, told: "_Told", response: Response) -> Response:
        """Count it, log it, end its trace."""
        self._metrics.count_request(told.route, response.status, perf_counter() - told.request.arrived)
        if told.trace is not None:
            self._tracing.end(told.trace, told.route, response.status)
        if self._access_log is not None:
            principal = told.identity.principal if told.identity else None
            trace_id = told.trace.id if told.trace else None
            request, sizes = told.request, (len(told.request.body), len(response.body))
            self._access_log.note(
                request.arrived, request.method, request.path, response.status, sizes, principal, trace_id
            )
        return response

    def _call(self, route: Route, params: Mapping[str, str], told: "_Told") -> Call:
        serving, request = self.serving, told.request
        found = request.headers
        if route.resolve is not nothing_more:
            params = {**route.resolve(serving, found), **params}
        identity = None if isinstance(route.permission, Public) else self._identify(serving, route, params, found)
        if found.get(b"content-encoding", b"identity") != b"identity":
            raise InvalidInput(
                "http.encoding_not_supported", "compressed bodies are not taken here", remedy="Send the body as it is."
            )
        return Call(serving, identity, params, found, request.body, request.arrived, told.trace, request.alone)

    def _identify(
        self, serving: Serving, route: Route, params: Mapping[str, str], found: Mapping[bytes, bytes]
    ) -> Identity:
        secret = secret_of(found.get(b"authorization", b""))
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


def _name(host: bytes) -> bytes:
    """The host without its port."""
    return host[: host.index(b"]") + 1] if host.startswith(b"[") and b"]" in host else host.partition(b":")[0]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
