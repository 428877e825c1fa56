"""A real server and raw requests: forged hosts, odd paths, large and broken bodies. Nothing gets past, nothing breaks it."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.access.permissions import Permission
from loopline.server.control.app import BODY_LIMIT, control_app

PROMOTE = "/api/v1/projects/flights/models/late/promote"
BODIES = [
    ("POST", PROMOTE),
    ("POST", "/api/v1/projects/flights/models/late/rollback"),
    ("POST", "/api/v1/projects/flights/models/late/labels"),
    ("POST", "/api/v1/projects/flights/incidents/inc_x/resolve"),
    ("POST", "/api/v1/tokens"),
    ("POST", "/api/v1/principals"),
]


class Live:
    """A server on a port of its own."""

    def __init__(self, served) -> None:
        self.served = served
        config = uvicorn.Config(control_app(served.resources), port=0, log_config=None, access_log=False, ws="none")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def ask(self, request: bytes) -> tuple[int, bytes]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            while more := connection.recv(65536):
                answer += more
        return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]

    def get(self, path: bytes, *headers: bytes, host: bytes = b"localhost") -> tuple[int, bytes]:
        lines = [b"GET " + path + b" HTTP/1.1", b"Host: " + host, b"Connection: close", *headers]
        return self.ask(b"\r\n".join([*lines, b"", b""]))

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=10)


@pytest.fixture(scope="module")
def live(shared) -> Iterator[Live]:
    made = Live(shared)
    yield made
    made.stop()


def bearer(live: Live) -> bytes:
    return b"Authorization: " + live.served.token(*Permission)["authorization"].encode()


def test_it_answers_to_its_own_names(live):
    for host in (b"localhost", b"127.0.0.1", b"LOCALHOST:%d" % live.port, b"[::1]:%d" % live.port):
        assert live.get(b"/api/v1/status", bearer(live), host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [b"evil.example", b"localhost.evil.example", b"evil.example:8321", b"", b"0.0.0.0", b"user@localhost", b"[::1"],
)
def test_a_forged_host_is_refused_with_a_token_too(live, host):
    status, body = live.get(b"/api/v1/status", bearer(live), host=host)
    assert status in {400, 421}
    assert b"flights" not in body


def test_a_second_host_is_refused(live):
    assert live.get(b"/api/v1/status", b"Host: evil.example", bearer(live))[0] in {400, 421}
    assert live.get(b"http://evil.example/api/v1/status", bearer(live), host=b"evil.example")[0] == 421
    assert live.get(b"/api/v1/status", b"X-Forwarded-Host: localhost", bearer(live), host=b"evil.example")[0] == 421


@pytest.mark.parametrize(
    "path",
    [
        b"/api/v1/status",
        b"/api//v1/status",
        b"//api/v1/status",
        b"/api/v1/status/",
        b"/api/v1/status//",
        b"/api/v1/./status",
        b"/health/live/../../api/v1/status",
        b"/health/live/%2e%2e/%2e%2e/api/v1/status",
        b"/health/live/%252e%252e/api/v1/status",
        b"/page.css/..%2fapi/v1/status",
        b"/page.css%2f..%2fapi%2fv1%2fstatus",
        b"/api%2fv1%2fstatus",
        b"/api/v1%5cstatus",
        b"/api/v1/status%00",
        b"/api/v1/status?x=%00",
        b"/api/v1/status;/health/live",
        b"/api/v1/status#/health/live",
        b"/API/V1/STATUS",
        b"/api/v1/stat\xc3\xbcs",
        b"/api/v1/%ff%fe",
        b"/api/v1/tables/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        b"/openapi.json",
        b"/schema",
        b"/docs",
        b"/metrics",
        b"/",
        b"*",
    ],
)
def test_no_spelling_of_a_path_gets_in_without_a_token(live, path):
    status, body = live.get(path)
    assert status in {400, 401, 404}
    assert b"flights" not in body
    assert b"Traceback" not in body


def test_methods_in_other_words_do_not_get_in(live):
    for method in (b"HEAD", b"PUT", b"PATCH", b"TRACE", b"CONNECT", b"FOO"):
        request = method + b" /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert live.ask(request)[0] in {400, 401, 405}
    override = (b"X-HTTP-Method-Override: POST", bearer(live))
    assert live.get(PROMOTE.encode(), *override)[0] == 405


def test_a_body_that_is_too_large_is_refused_before_it_is_read_to_the_end(live):
    head = f"POST {PROMOTE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode() + bearer(live)
    status, body = live.ask(head + b"\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 1) + b" " * 1000)
    assert (status, json.loads(body)["code"]) == (413, "http.body_too_large")
    chunk = b"%x\r\n" % (BODY_LIMIT + 1) + b" " * (BODY_LIMIT + 1) + b"\r\n0\r\n\r\n"
    assert live.ask(head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)[0] == 413


def test_an_upgrade_is_not_taken(live):
    upgrade = (b"Upgrade: websocket", b"Sec-WebSocket-Key: eA==", b"Sec-WebSocket-Version: 13")
    assert live.get(b"/api/v1/status", *upgrade)[0] == 401


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
near_misses = st.fixed_dictionaries(
    {},
    optional={
        name: json_values | st.sampled_from(["x", 1, 2, [], ["admin"], "person", [{"key": "flight 1", "label": 1}]])
        for name in ("version", "reason", "to", "labels", "name", "principal", "scopes", "expires_in", "kind", "roles")
    },
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(BODIES), body=near_misses.map(lambda value: json.dumps(value).encode()) | st.binary())
def test_no_body_makes_a_500(shared, place, body):
    method, path = place
    answer = shared.client.request(method, path, content=body, headers=_everything(shared))
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()) == {"error", "code", "remedy", "context"}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/api/v1/projects/flights/ledger", "/api/v1/runs", "/api/v1/tables/flights.crew/rows"]),
    query=st.dictionaries(
        st.sampled_from(["after", "limit", "kind", "subject", "project", "order_by", "columns", "experiment"]),
        st.text() | st.integers().map(str),
    ),
)
def test_no_query_makes_a_500(shared, path, query):
    answer = shared.client.get(path, params=query, headers=_everything(shared))
    assert answer.status_code < 500, answer.text


_HEADERS: dict[int, dict[str, str]] = {}


def _everything(shared) -> dict[str, str]:
    return _HEADERS.setdefault(id(shared), shared.token(*Permission))
