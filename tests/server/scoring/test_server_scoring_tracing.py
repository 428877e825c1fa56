"""Traces go to a collector that speaks OTLP over HTTP and into the log; the access log has a line for each answer."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from loopline.clock import SystemClock
from loopline.scoring.block import decode
from loopline.scoring.segment import scan
from loopline.server.scoring.tracing import TraceIds

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def collector():
    """An OTLP collector; gives its address and the spans it got."""
    spans = []

    class Collect(BaseHTTPRequestHandler):
        def do_POST(self):
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            spans.extend(
                span for resource in sent.resource_spans for scope in resource.scope_spans for span in scope.spans
            )
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collect)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", spans
    server.shutdown()
    server.server_close()


def spooled(home):
    segments = [path for path in (home.path / "spool").rglob("*") if path.suffix in {".open", ".sealed"}]
    return [decode(payload) for path in segments for payload in scan(path.read_bytes())[0]]


def test_a_callers_trace_goes_on_in_spans_and_in_the_log(own_home, start, collector, monkeypatch):
    address, spans = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    own_home.deploy(1, sequence=1)
    before = SystemClock().now().timestamp()
    with start(own_home) as process, process.client() as client:
        answer = client.post("/predict/late", json={"rows": own_home.requests(2)}, headers={"traceparent": PARENT})
        assert answer.status_code == 200
        client.post("/predict/late", json={"rows": own_home.requests(1)})
        client.post("/predict/late", content=b"{")
    first, second = (origin.trace_id for block in spooled(own_home) for origin in block.origins)
    [whole] = [span for span in spans if span.trace_id.hex() == TRACE and span.name == "/predict/{endpoint}"]
    assert first == TRACE
    assert whole.parent_span_id.hex() == "00f067aa0ba902b7"
    stages = {span.name: span for span in spans if span.parent_span_id == whole.span_id}
    assert {"check", "features", "score", "decide", "log"} <= set(stages)
    for span in stages.values():
        assert whole.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= whole.end_time_unix_nano
    assert before - 5 < whole.start_time_unix_nano / 1e9 < SystemClock().now().timestamp() + 5
    assert second != TRACE
    assert second in {span.trace_id.hex() for span in spans}
    statuses = [
        attribute.value.int_value
        for span in spans
        for attribute in span.attributes
        if attribute.key == "http.response.status_code"
    ]
    assert statuses.count(400) == 1
    assert statuses.count(200) >= 2


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (PARENT.encode(), TRACE),
        (b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", None),
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736", None),
        (b"garbage", None),
        (PARENT.upper().encode(), None),
        (b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", TRACE),
    ],
)
def test_only_a_trace_context_is_taken_for_one(header, trace):
    found = TraceIds().begin({b"traceparent": header}, 0.0)
    assert (found.id if found else None) == trace


def test_each_answer_is_a_line_of_the_access_log(own_home, start, monkeypatch):
    monkeypatch.setenv("LOOPLINE_ACCESS_LOG", "1")
    own_home.deploy(1, sequence=1)
    began = time.monotonic()
    with start(own_home, workers=2) as process, process.client() as client:
        client.post("/predict/late", json={"rows": own_home.requests(2)}, headers={"traceparent": PARENT})
        client.get("/v2/models/late?secret=7")
        client.get("/nowhere", headers={"authorization": "Bearer ll_nobody"})
        port = process.port
    lines = [json.loads(line) for line in (own_home.path / "log" / f"access-{port}.jsonl").read_text().splitlines()]
    told = [line for line in lines if line["path"] != "/v2/health/ready"]
    assert [(line["method"], line["path"], line["status"], line.get("principal")) for line in told] == [
        ("POST", "/predict/late", 200, "all"),
        ("GET", "/v2/models/late", 200, "all"),
        ("GET", "/nowhere", 404, None),
    ]
    assert told[0]["trace_id"] == TRACE
    assert told[0]["bytes_in"] > 0 < told[0]["bytes_out"]
    assert all(0 < line["ms"] < 1000 * (time.monotonic() - began) for line in told)
    assert "secret" not in json.dumps(lines)
