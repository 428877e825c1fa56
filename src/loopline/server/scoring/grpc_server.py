"""The Open Inference Protocol over gRPC: a server of its own beside HTTP, on a port that the workers share.

Requests are parsed by us and not by grpc, which would call a body that is no message an internal error of ours.
"""

from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import structlog

from loopline.errors import LooplineError, Unavailable, trace
from loopline.server.protocols.oip.messages import METHODS, SERVICE
from loopline.server.scoring.access_log import AccessLog
from loopline.server.scoring.grpc_methods import Asked, GrpcMethods
from loopline.server.scoring.http import BODY_LIMIT
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.problem import as_ours, status_of
from loopline.server.scoring.tracing import TRACEPARENT, TraceIds, Tracing

CONCURRENT_LIMIT = 1000
CODE_METADATA = "loopline-code"

_OURS = 500
_log = structlog.get_logger(__name__)

# The names of grpc's status codes for the statuses that HTTP answers with.
_CODES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class GrpcServer:
    """Serves `methods` at `host:port` while the event loop runs; 0 is any free port."""

    def __init__(
        self,
        methods: GrpcMethods,
        metrics: Metrics,
        tracing: Tracing | None = None,
        access_log: AccessLog | None = None,
        *,
        host: str,
        port: int,
    ) -> None:
        self._methods = methods
        self._metrics = metrics
        self._tracing = tracing or TraceIds()
        self._access_log = access_log
        self._host = f"[{host}]" if ":" in host else host
        self._port = port
        self._server: Any = None
        self._codes: Any = None

    async def start(self) -> int:
        """Listen; gives the port. Raises `Unavailable`: "grpc.not_installed", "grpc.port_taken"."""
        require_grpc()
        grpc, aio = import_module("grpc"), import_module("grpc.aio")
        self._codes = grpc.StatusCode
        options = [("grpc.max_receive_message_length", BODY_LIMIT), ("grpc.so_reuseport", 1)]
        self._server = aio.server(options=options, maximum_concurrent_rpcs=CONCURRENT_LIMIT)
        handlers = {name: grpc.unary_unary_rpc_method_handler(self._handler(name)) for name in METHODS}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        try:
            port: int = self._server.add_insecure_port(f"{self._host}:{self._port}")
        except RuntimeError as error:
            raise _port_taken(self._host, self._port) from error
        await self._server.start()
        return port

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and wait so long for those under way."""
        if self._server is not None:
            await self._server.stop(seconds)

    def _handler(self, method: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def handle(content: bytes, context: Any) -> bytes:
            began, head = perf_counter(), _head(context)
            parent = head.get("traceparent", "").encode("latin-1", "replace")
            asked = Asked(head, began, _deadline(context, began), self._tracing.begin({TRACEPARENT: parent}, began))
            try:
                answer = await self._methods.answer(method, content, asked)
            except Exception as error:  # an answer is owed whatever happens
                status, ours = status_of(error), as_ours(error)
                self._note(method, status, asked, (len(content), 0), error)
            else:
                self._note(method, 200, asked, (len(content), len(answer)))
                return answer
            await context.abort(self._code(status), _details(ours), ((CODE_METADATA, ours.code),))
            raise AssertionError  # abort does not return

        return handle

    def _code(self, status: int) -> Any:
        return getattr(self._codes, _CODES.get(status, "INTERNAL" if status >= _OURS else "INVALID_ARGUMENT"))

    def _note(
        self, method: str, status: int, asked: Asked, sizes: tuple[int, int], error: Exception | None = None
    ) -> None:
        route = f"grpc {method}"
        self._metrics.count_request(route, status, perf_counter() - asked.arrived)
        if asked.trace is not None:
            self._tracing.end(asked.trace, route, status)
        if self._access_log is not None:
            path, trace_id = f"/{SERVICE}/{method}".encode(), asked.trace.id if asked.trace else None
            self._access_log.note(asked.arrived, "GRPC", path, status, sizes, asked.principal, trace_id)
        if error is not None and status >= _OURS and not isinstance(error, Unavailable):
            _log.error("call failed", method=method, exception=trace(error))


def require_grpc() -> None:
    """Raises `Unavailable` "grpc.not_installed" where the package that speaks gRPC is missing."""
    if find_spec("grpc") is None:
        raise Unavailable(
            "grpc.not_installed",
            "a port for gRPC is set, and the package grpcio is not installed",
            remedy="pip install 'loopline[grpc]', or unset LOOPLINE_GRPC_PORT.",
        )


def _head(context: Any) -> Mapping[str, str]:
    """The text of a call's metadata, as `Call.headers`: the last of a name counts."""
    found = context.invocation_metadata() or ()
    return {name: value for name, value in found if isinstance(value, str)}


def _deadline(context: Any, now: float) -> float | None:
    left = context.time_remaining()
    return None if left is None else now + left


def _details(error: LooplineError) -> str:
    return f"{error.message}. {error.remedy}" if error.remedy else error.message


def _port_taken(host: str, port: int) -> Unavailable:
    return Unavailable(
        "grpc.port_taken",
        f"{host}:{port} cannot be listened on",
        remedy="Stop what listens there, or choose another port with LOOPLINE_GRPC_PORT.",
    )
