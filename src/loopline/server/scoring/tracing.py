"""Traces of requests: the caller's trace id goes into the log, and spans to an OpenTelemetry collector where one is set.

W3C Trace Context (w3.org/TR/trace-context) names the header; the collector is set as OpenTelemetry says
(`OTEL_EXPORTER_OTLP_ENDPOINT` and its like), and needs the extra `otel`.
"""

import os
import re
from collections.abc import Mapping
from importlib import import_module
from time import perf_counter
from typing import Any, Protocol

import structlog

from loopline.clock import Clock

TRACEPARENT = b"traceparent"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_NANOSECONDS = 1_000_000_000
_ERRORS_FROM = 500

_log = structlog.get_logger(__name__)


class Trace:
    """One request's: its trace id, 32 hex digits, and when each stage began and ended by `time.perf_counter`."""

    __slots__ = ("id", "span", "stages")

    def __init__(self, trace_id: str, span: Any = None) -> None:
        self.id = trace_id
        self.span = span
        self.stages: list[tuple[str, float, float]] = []


class Tracing(Protocol):
    """What the application needs to trace its requests."""

    def begin(self, headers: Mapping[bytes, bytes], arrived: float) -> Trace | None: ...

    def end(self, trace: Trace, route: str, status: int) -> None: ...

    def close(self) -> None: ...


class TraceIds:
    """Knows the trace a request belongs to, and makes no spans."""

    def begin(self, headers: Mapping[bytes, bytes], arrived: float) -> Trace | None:  # noqa: ARG002 - the protocol's
        """The trace that the header `traceparent` names; None without one, or where it is none."""
        parent = headers.get(TRACEPARENT)
        found = _PARENT.fullmatch(parent) if parent else None
        return Trace(found.group(1).decode()) if found and found.group(1) != b"0" * 32 else None

    def end(self, trace: Trace, route: str, status: int) -> None:
        """Nothing is sent."""

    def close(self) -> None:
        """Nothing is open."""


class Spans:
    """A span for each request, with one below it for each stage; a caller's own trace goes on in it.

    Sampling is the SDK's, by `OTEL_TRACES_SAMPLER`. `now` dates spans. Raises `ImportError` without the SDK.
    """

    def __init__(self, clock: Clock) -> None:
        api, sdk = import_module("opentelemetry.trace"), import_module("opentelemetry.sdk.trace")
        export = import_module("opentelemetry.sdk.trace.export")
        exporter = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        resource = import_module("opentelemetry.sdk.resources").Resource.create({"service.name": "loopline-scoring"})
        self._propagator = import_module("opentelemetry.trace.propagation.tracecontext").TraceContextTextMapPropagator()
        self._api = api
        self._provider = sdk.TracerProvider(resource=resource)
        self._provider.add_span_processor(export.BatchSpanProcessor(exporter.OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("loopline.scoring")
        self._began = int(clock.now().timestamp() * _NANOSECONDS) - int(perf_counter() * _NANOSECONDS)

    def begin(self, headers: Mapping[bytes, bytes], arrived: float) -> Trace | None:
        """A span that begins when the request arrived."""
        parent = headers.get(TRACEPARENT)
        context = self._propagator.extract({"traceparent": parent.decode("latin-1")}) if parent else None
        kind = self._api.SpanKind.SERVER
        span = self._tracer.start_span("request", context=context, kind=kind, start_time=self._moment(arrived))
        return Trace(f"{span.get_span_context().trace_id:032x}", span)

    def end(self, trace: Trace, route: str, status: int) -> None:
        """The span ends, named for its route."""
        context = self._api.set_span_in_context(trace.span)
        for name, began, ended in trace.stages:
            self._tracer.start_span(name, context=context, start_time=self._moment(began)).end(self._moment(ended))
        trace.span.update_name(route)
        trace.span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= _ERRORS_FROM:
            trace.span.set_status(self._api.StatusCode.ERROR)
        trace.span.end(self._moment(perf_counter()))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def _moment(self, counted: float) -> int:
        return self._began + int(counted * _NANOSECONDS)


def open_tracing(clock: Clock, environment: Mapping[str, str] = os.environ) -> Tracing:
    """Spans where a collector is set and the SDK is there, else the callers' trace ids alone."""
    if not any(environment.get(name) for name in ENDPOINTS):
        return TraceIds()
    try:
        return Spans(clock)
    except ImportError as error:
        _log.error(
            "no spans are sent: the OpenTelemetry SDK is missing",
            remedy="pip install 'loopline[otel]'",
            error=str(error),
        )
        return TraceIds()
