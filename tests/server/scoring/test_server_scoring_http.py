"""A real process over real connections: scores, errors, and who is let in."""

import socket
import subprocess
import sys

import httpx
import msgspec
import numpy as np
import pytest

from loopline.access.permissions import Permission
from loopline.clock import SystemClock
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.repository import Repository
from loopline.server.scoring.routes import Public, Router
from loopline.server.scoring.surface import all_routes
from loopline.server.scoring.unloaded import Unloaded


@pytest.fixture(scope="module")
def client(process):
    with process.client() as made:
        yield made


def tensors(rows):
    kinds = {"flight_id": "BYTES", "departs": "BYTES", "carrier": "BYTES", "distance": "FP64", "hour": "INT64"}
    return [
        {"name": name, "shape": [len(rows)], "datatype": kinds[name], "data": [row[name] for row in rows]}
        for name in kinds
    ]


def raw(port, content):
    """The answer to bytes that no well-bred client would send."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def test_plain_predictions_are_the_models(client, home):
    answers = client.post("/predict/late", json={"rows": home.requests(200)}).json()["predictions"]
    expected = home.predictor(1).predict(home.rows.head(200))
    np.testing.assert_allclose([answer["score"] for answer in answers], expected, atol=1e-6, rtol=0)
    decisions = ["abstain" if 0.18 < p < 0.22 else "positive" if p >= 0.2 else "negative" for p in expected]
    assert [answer["decision"] for answer in answers] == decisions
    assert [answer["key"] for answer in answers] == home.rows["flight_id"].head(200).to_list()
    assert len({answer["prediction_id"] for answer in answers}) == 200
    assert set(answers[0]) == {
        "prediction_id",
        "key",
        "score",
        "decision",
        "action",
        "propensity",
        "model_version",
        "decision_version",
        "variant",
        "degraded",
    }


@pytest.mark.parametrize("path", ["/v2/models/late/infer", "/v2/models/late/versions/1/infer"])
@pytest.mark.parametrize("shape", [1, 2])
def test_open_inference_predictions_are_the_models(client, home, path, shape):
    inputs = tensors(home.requests(20))
    if shape == 2:
        inputs = [{**tensor, "shape": [20, 1], "data": [[value] for value in tensor["data"]]} for tensor in inputs]
    answer = client.post(path, json={"id": "my-1", "inputs": inputs, "parameters": {"trace": "x"}}).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("late", "1", "my-1")
    assert answer["parameters"] == {"trace": "x"}
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert [(name, output["datatype"], output["shape"]) for name, output in outputs.items()] == [
        ("score", "FP64", [20]),
        ("decision", "BYTES", [20]),
        ("prediction_id", "BYTES", [20]),
        ("degraded", "BYTES", [20]),
        ("action", "BYTES", [20]),
        ("propensity", "FP64", [20]),
    ]
    expected = home.predictor(1).predict(home.rows.head(20))
    np.testing.assert_allclose(outputs["score"]["data"], expected, atol=1e-6, rtol=0)


def test_outputs_can_be_chosen(client, home):
    body = {"inputs": tensors(home.requests(2)), "outputs": [{"name": "decision"}]}
    answer = client.post("/v2/models/late/infer", json=body).json()
    assert [output["name"] for output in answer["outputs"]] == ["decision"]
    body["outputs"] = [{"name": "nonsense"}]
    assert client.post("/v2/models/late/infer", json=body).json()["code"] == "oip.unknown_output"


def test_metadata_and_health(client):
    assert client.get("/v2").json()["name"] == "loopline"
    metadata = client.get("/v2/models/late").json()
    assert metadata == client.get("/v2/models/late/versions/1").json()
    assert metadata["versions"] == ["1"]
    assert {tensor["name"]: tensor["datatype"] for tensor in metadata["inputs"]} == {
        "flight_id": "BYTES",
        "departs": "BYTES",
        "distance": "FP64",
        "hour": "FP64",
        "carrier": "BYTES",
    }
    assert client.get("/v2/models/late/ready").json() == {"name": "late", "ready": True}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}


def test_metrics_count_what_was_answered(client, home):
    def count():
        lines = client.get("/metrics").text.splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return int(values.get('loopline_scoring_predictions_total{endpoint="late",variant="champion"}', 0))

    before = count()
    client.post("/predict/late", json={"rows": home.requests(7)})
    assert count() == before + 7


def test_a_request_id_makes_a_retry_the_same_prediction(client, home):
    def first(body, **options):
        return client.post("/predict/late", json=body, **options).json()["predictions"][0]["prediction_id"]

    rows = home.requests(1)
    assert first({"rows": rows, "request_id": "r"}) == first({"rows": rows, "request_id": "r"})
    assert first({"rows": rows}, headers={"idempotency-key": "k"}) == first(
        {"rows": rows}, headers={"idempotency-key": "k"}
    )
    assert first({"rows": rows}) != first({"rows": rows})


@pytest.mark.parametrize(
    ("token", "method", "path", "status", "code"),
    [
        (None, "POST", "/predict/late", 401, "token.missing"),
        ("ll_guess", "POST", "/predict/late", 401, "token.unknown"),
        ("ll_revoked", "POST", "/predict/late", 401, "token.unknown"),
        ("ll_expired", "POST", "/predict/late", 401, "token.expired"),
        ("ll_reader", "POST", "/predict/late", 403, "access.not_permitted"),
        ("ll_reader", "POST", "/v2/models/late/infer", 403, "access.not_permitted"),
        ("ll_scorer", "GET", "/v2/models/late", 403, "access.not_permitted"),
        ("ll_scorer", "GET", "/metrics", 403, "access.not_permitted"),
        (None, "GET", "/v2", 401, "token.missing"),
        (None, "GET", "/metrics", 401, "token.missing"),
        (None, "GET", "/v2/models/nobody", 401, "token.missing"),
        ("ll_all", "GET", "/v2/models/nobody", 404, "scoring.endpoint_not_found"),
        ("ll_all", "GET", "/v2/models/late%2Fready", 404, "scoring.endpoint_not_found"),
        ("ll_all", "GET", "/v2/models/..%2f..%2fkeys", 404, "scoring.endpoint_not_found"),
        ("ll_all", "GET", "/v2/models/late/versions/9", 404, "scoring.version_not_served"),
        ("ll_all", "GET", "/nowhere", 404, "http.no_route"),
        ("ll_all", "GET", "/predict/late", 405, "http.method_not_allowed"),
        ("ll_all", "DELETE", "/v2/models/late", 405, "http.method_not_allowed"),
    ],
)
def test_who_and_what_is_refused(process, token, method, path, status, code):
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    answer = httpx.request(method, f"http://127.0.0.1:{process.port}{path}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == {"error", "code", "remedy"}
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert ("allow" in answer.headers) == (status == 405)


def test_every_route_declares_a_permission_and_all_but_probes_ask_for_a_token(process):
    routes = all_routes(None, Metrics(), Repository(Unloaded()), clock=SystemClock())
    assert len({(route.method, route.path) for route in routes}) == len(routes) == 21
    public = [route.path for route in routes if isinstance(route.permission, Public)]
    assert public == ["/v2/health/live", "/v2/health/ready", "/ping", "/health", "/openapi.json"]
    assert all(isinstance(route.permission, Permission | Public) for route in routes)
    for route in routes:
        path = route.path.format(endpoint="late", version=1)
        answer = httpx.request(route.method, f"http://127.0.0.1:{process.port}{path}")
        assert (answer.status_code == 401) == (route.path not in public), route.path
        found, params = Router(routes).find(route.method, path.encode())
        assert found is route
        assert set(params) <= {"endpoint", "version"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"rows": 5}',
        b'{"rows": [5]}',
        b'{"rows": {}}',
        b'{"row": []}',
        b'{"rows": [], "more": 1}',
        b'{"rows": [{"distance": NaN}]}',
        b'{"rows": [{"distance": Infinity}]}',
        b'{"rows": [{"distance": 1e999}]}',
        b'{"rows": [{"carrier": "\xff\xfe"}]}',
        b'{"rows": [{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    ],
)
def test_a_malformed_body_is_a_400_that_says_why(client, content):
    answer = client.post("/predict/late", content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "http.bad_json")
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"extra": 1}, "scoring.unknown_column"),
        ({"distance": "far"}, "scoring.not_a_number"),
        ({"hour": True}, "scoring.not_a_number"),
        ({"carrier": 5}, "scoring.not_a_category"),
        ({"departs": "2026-05-01"}, "scoring.bad_time"),
        ({"distance": 1e300}, "scoring.not_finite"),
        ({"flight_id": "f0"}, "scoring.duplicate_key"),
    ],
)
def test_a_wrong_row_refuses_the_whole_request(client, home, change, code):
    rows = home.requests(2)
    rows[1].update(change)
    answer = client.post("/predict/late", json={"rows": rows})
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert "row 1" in answer.json()["error"]


def test_null_and_unseen_values_are_scored_and_flagged(client, home):
    rows = home.requests(2)
    rows[0].update(distance=None)
    rows[1].update(carrier="ZZ")
    answers = client.post("/predict/late", json={"rows": rows}).json()["predictions"]
    assert [answer["degraded"] for answer in answers] == [["null_unseen:distance"], ["unseen_category:carrier"]]


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ([], "oip.no_inputs"),
        ([{"name": "a", "shape": [1], "datatype": "FP99", "data": [1]}], "oip.unknown_datatype"),
        ([{"name": "a", "shape": [2], "datatype": "FP64", "data": [1]}], "oip.bad_shape"),
        ([{"name": "a", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}], "oip.matrix_of_text"),
        ([{"name": "a", "shape": [1], "datatype": "FP64", "data": [1]}] * 2, "oip.duplicate_input"),
        (
            [
                {"name": "a", "shape": [1], "datatype": "FP64", "data": [1]},
                {"name": "b", "shape": [2], "datatype": "FP64", "data": [1, 2]},
            ],
            "oip.different_lengths",
        ),
    ],
)
def test_wrong_tensors_are_refused(client, inputs, code):
    answer = client.post("/v2/models/late/infer", json={"inputs": inputs})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_token_may_come_as_a_password(process, home):
    body = {"rows": home.requests(1)}
    url = f"http://127.0.0.1:{process.port}/predict/late"
    assert httpx.post(url, json=body, auth=("anyone", "ll_scorer")).status_code == 200
    assert httpx.post(url, json=body, auth=("ll_scorer", "")).json()["code"] == "token.missing"
    for wrong in ("Basic", "Basic !", "Basic \xff", "Digest ll_scorer"):
        answer = httpx.post(url, json=body, headers={"authorization": wrong.encode("latin-1")})
        assert answer.json()["code"] == "token.missing"


def test_a_body_beyond_the_limit_is_refused_announced_or_not(process):
    head = b"POST /predict/late HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ll_all\r\n"
    announced = raw(process.port, head + b"content-length: 99999999\r\n\r\n")
    assert announced.startswith(b"HTTP/1.1 413 ")
    chunk = b"%x\r\n" % (1 << 20) + b" " * (1 << 20) + b"\r\n"
    assert raw(process.port, head + b"transfer-encoding: chunked\r\n\r\n" + chunk * 9 + b"0\r\n\r\n").startswith(
        b"HTTP/1.1 413 "
    )
    compressed = raw(process.port, head + b"content-encoding: gzip\r\ncontent-length: 0\r\n\r\n")
    assert compressed.startswith(b"HTTP/1.1 415 ")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"host: localhost", b"200"),
        (b"host: 127.0.0.1:1", b"200"),
        (b"host: [::1]:80", b"200"),
        (b"host: evil.example", b"421"),
        (b"host: localhost.evil.example", b"421"),
        (b"host: localhost\r\nsec-fetch-site: cross-site", b"403"),
        (b"x: y", b"421"),
    ],
)
def test_only_programs_that_call_this_machine_by_its_name_are_answered(process, header, status):
    answer = raw(process.port, b"GET /v2/health/live HTTP/1.1\r\n" + header + b"\r\nconnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] == status


def test_garbage_does_not_stop_the_process(process, client):
    for content in (
        b"\x00\xff\x00\n\n",
        b"GET\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    ):
        assert b"Traceback" not in raw(process.port, content)
    assert client.get("/v2/health/live").status_code == 200


def test_the_process_loads_neither_a_database_nor_a_trainer_nor_a_framework():
    script = (
        "import sys, loopline.server.scoring.process as p;"
        "print([m for m in ('sqlalchemy', 'sklearn', 'litestar', 'alembic', 'deltalake', 'skl2onnx', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_answers_are_json_that_msgspec_reads(client, home):
    answer = client.post("/predict/late", json={"rows": home.requests(1)})
    assert answer.headers["content-type"] == "application/json"
    assert msgspec.json.decode(answer.content)["predictions"][0]["variant"] == "champion"
