"""HTTP as it comes over a real socket: in pieces, several at once, too large, too slow to be waited for, or no HTTP at all."""

import socket
import time
from itertools import pairwise

import httptools
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.clock import SystemClock
from loopline.server.scoring.busy_poll import ALONE_AFTER, BusyPoll
from loopline.server.scoring.connection import HEADERS_LIMIT, READING_SECONDS, Connection
from loopline.server.scoring.http import Request, Response

HEAD = b"host: localhost\r\nauthorization: Bearer ll_all\r\n"


class Wire:
    """A transport that keeps what is written."""

    def __init__(self):
        self.written, self.closed, self.reading = b"", False, True

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


class Loop:
    """What is to be done later is done when asked."""

    def __init__(self):
        self.later = []

    def call_later(self, _seconds, call):
        self.later.append(call)

    def call_soon(self, call):
        self.later.append(call)


class Echo:
    """Answers with what it was asked; keeps the requests."""

    date, draining, limit = b"Thu, 01 Jan 1970 00:00:00 GMT", False, 10

    def __init__(self):
        self.requests: list[Request] = []

    def handle(self, request):
        self.requests.append(request)
        return Response(200, (), b"%s %s %s" % (request.method.encode(), request.target, request.body))

    def refuse(self, error):
        return Response(400, (), getattr(error, "code", repr(error)).encode())

    def too_many(self, connections):
        return RuntimeError("full") if connections > self.limit else None


def connected(app=None, peers=None):
    connection = Connection(app or Echo(), set() if peers is None else peers, Loop())
    wire = Wire()
    connection.connection_made(wire)
    return connection, wire


bodies = st.binary(max_size=60)
requests = st.lists(st.tuples(st.sampled_from(["GET", "POST", "PUT"]), st.sampled_from(["/a", "/b?c=%20"]), bodies), min_size=1, max_size=5)  # fmt: skip


@settings(max_examples=150)
@given(requests, st.lists(st.integers(0, 400), max_size=12), st.booleans())
def test_requests_in_any_pieces_are_answered_in_order(sent, cuts, chunked):
    stream = b""
    for method, target, body in sent:
        stream += b"%s %s HTTP/1.1\r\nX-Some: Thing\r\n" % (method.encode(), target.encode())
        if chunked and body:
            stream += b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            stream += b"content-length: %d\r\n\r\n%s" % (len(body), body)
    app = Echo()
    connection, wire = connected(app)
    places = [0, *sorted({min(cut, len(stream)) for cut in cuts}), len(stream)]
    for start, end in pairwise(places):
        if end > start:
            connection.data_received(stream[start:end])
    assert [(one.method, one.target.decode(), one.body) for one in app.requests] == sent
    assert all(one.headers[b"x-some"] == b"Thing" for one in app.requests)
    assert answers(wire.written) == [b"%s %s %s" % (m.encode(), t.encode(), b) for m, t, b in sent]
    assert not wire.closed
    assert connection.idle


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from(["GET", "POST"]), st.sampled_from([b"a", b"b"]), bodies), min_size=1, max_size=8)
)
def test_a_head_that_came_before_is_read_as_it_was_then(sent):
    """Requests that come whole, some with the head of an earlier one: what the application sees is what was sent."""
    app = Echo()
    connection, wire = connected(app)
    for method, mark, body in sent:
        head = b"%s /%s HTTP/1.1\r\nX-Some: %s\r\ncontent-length: %d\r\n\r\n" % (method.encode(), mark, mark, len(body))
        connection.data_received(head + body)
    assert [(one.method, one.target, one.headers[b"x-some"], one.body) for one in app.requests] == [
        (method, b"/" + mark, mark, body) for method, mark, body in sent
    ]
    assert len(answers(wire.written)) == len(sent)


def answers(stream: bytes) -> list[bytes]:
    """The bodies in a stream of responses, read by another parser."""
    found: list[bytes] = []

    class Reading:
        def on_message_begin(self):
            found.append(b"")

        def on_body(self, body):
            found[-1] += body

    httptools.HttpResponseParser(Reading()).feed_data(stream)
    return found


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=300))
def test_garbage_is_refused_and_nothing_is_raised(garbage):
    connection, wire = connected()
    connection.data_received(garbage)
    connection.data_received(b"GET /a HTTP/1.1\r\n\r\n")
    assert wire.written == b"" or wire.written.startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET /" + b"a" * (HEADERS_LIMIT + 1) + b" HTTP/1.1\r\n\r\n", b"http.headers_too_large"),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * HEADERS_LIMIT + b"\r\n\r\n", b"http.headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n", b"http.headers_too_large"),
        (b"POST / HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n", b"http.body_too_large"),
        (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", b"http.malformed"),
        (b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"http.malformed"),
        (b"GET / HTTP/9.9\r\n\r\n", b"http.malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", b"http.malformed"),
    ],
)
def test_what_would_hurt_is_refused_before_it_is_read(data, code):
    app = Echo()
    connection, wire = connected(app)
    connection.data_received(data)
    assert answers(wire.written) == [code]
    assert b"connection: close" in wire.written
    assert not wire.closed  # what is still being sent is let in for a moment, so that the answer is not lost
    for later in connection._loop.later:
        later()
    assert wire.closed
    assert app.requests == []


def test_a_caller_that_does_not_read_is_not_read_from():
    app = Echo()
    connection, wire = connected(app)
    connection.pause_writing()
    assert not wire.reading
    connection.data_received(b"GET /a HTTP/1.1\r\n\r\n" * 3)
    assert app.requests == []
    connection.resume_writing()
    assert len(app.requests) == 3
    assert wire.reading


def test_a_request_that_takes_too_long_to_arrive_is_refused():
    connection, wire = connected()
    connection.data_received(b"POST /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nab")
    connection.expire(connection.since + READING_SECONDS / 2)
    assert wire.written == b""
    connection.expire(connection.since + READING_SECONDS + 1)
    assert answers(wire.written) == [b"http.too_slow"]


def test_one_connection_too_many_is_told_so():
    app, peers = Echo(), set()
    app.limit = 1
    _, first = connected(app, peers)
    _, second = connected(app, peers)
    assert first.written == b""
    assert second.written.startswith(b"HTTP/1.1 400 ")


def test_a_request_knows_whether_anybody_else_asked_of_late():
    app, poll = Echo(), BusyPoll(Loop())
    first, second = (Connection(app, set(), Loop(), poll=poll) for _ in range(2))
    sent = b"GET /a HTTP/1.1\r\n" + HEAD + b"\r\n"
    for one in (first, second):
        one.connection_made(Wire())
    for one in (*[first] * (ALONE_AFTER + 2), second, first):
        one.data_received(sent)
    assert [request.alone for request in app.requests] == [False] * ALONE_AFTER + [True] * 2 + [False] * 2


def test_the_last_answer_before_the_end_says_so():
    app = Echo()
    connection, wire = connected(app)
    app.draining = True
    connection.data_received(b"GET /a HTTP/1.1\r\n\r\n")
    assert b"connection: close" in wire.written
    assert wire.closed


def test_old_and_closing_callers_are_closed_to_and_expectations_met(process):
    with socket.create_connection(("127.0.0.1", process.port)) as caller:
        caller.sendall(b"GET /v2/health/live HTTP/1.0\r\nhost: localhost\r\n\r\n")
        assert everything(caller).endswith(b'{"live":true}')
    with socket.create_connection(("127.0.0.1", process.port)) as caller:
        caller.sendall(
            b"POST /predict/late HTTP/1.1\r\n" + HEAD + b"content-length: 11\r\nexpect: 100-continue\r\n\r\n"
        )
        assert caller.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        caller.sendall(b'{"rows":[]}')
        assert caller.recv(1000).endswith(b'{"predictions":[]}')


def test_a_caller_that_closed_its_side_is_answered_and_let_go(process, home):
    body = msgspec.json.encode({"rows": home.requests(1)})
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", process.port)) as caller:
            caller.sendall(b"POST /predict/late HTTP/1.1\r\n%scontent-length: %d\r\n\r\n%s" % (HEAD, len(body), body))
            caller.shutdown(socket.SHUT_WR)
            [answer] = answers(everything(caller))
            assert len(msgspec.json.decode(answer)["predictions"]) == 1


def test_pipelined_predictions_come_back_in_order(process, home):
    rows = home.requests(40)
    with socket.create_connection(("127.0.0.1", process.port)) as caller:
        for row in rows:
            body = msgspec.json.encode({"rows": [row]})
            caller.sendall(b"POST /predict/late HTTP/1.1\r\n%scontent-length: %d\r\n\r\n%s" % (HEAD, len(body), body))
        caller.shutdown(socket.SHUT_WR)
        found = [msgspec.json.decode(one)["predictions"][0]["key"] for one in answers(everything(caller))]
    assert found == [row["flight_id"] for row in rows]


def test_answers_carry_the_date_of_the_present(process):
    with process.client() as client:
        told = client.get("/v2/health/live").headers["date"]
    said = time.mktime(time.strptime(told, "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone
    assert abs(said - SystemClock().now().timestamp()) < 60


def everything(caller: socket.socket) -> bytes:
    """All that is sent until the other side closes."""
    parts = []
    caller.settimeout(20)
    while part := caller.recv(65536):
        parts.append(part)
    return b"".join(parts)
