"""Random and damaged bodies over gRPC and HTTP: never our fault, and no growth of memory."""

import json
from pathlib import Path

import grpc
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.server.protocols.oip.messages import METHODS, SERVICE, messages

OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
GROWTH = 16 << 20
EXAMPLES = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def process(home, start):
    with start(home, grpc=True) as started:
        yield started


@pytest.fixture(scope="module")
def status(process):
    """The status of a call with a body."""
    with grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel:
        stubs = {method: channel.unary_unary(f"/{SERVICE}/{method}") for method in METHODS}

        def found(method, content):
            try:
                stubs[method](content, metadata=(("authorization", "Bearer ll_all"),), timeout=30)
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        yield found


@pytest.fixture(scope="module")
def client(process):
    with process.client() as made:
        yield made


def a_request(rows):
    made = messages()["ModelInferRequest"](model_name="late", id="7")
    for name in ("flight_id", "departs", "carrier"):
        one = made.inputs.add(name=name, datatype="BYTES", shape=[len(rows)])
        one.contents.bytes_contents.extend(row[name].encode() for row in rows)
    for name in ("distance", "hour"):
        one = made.inputs.add(name=name, datatype="FP64", shape=[len(rows), 1])
        one.contents.fp64_contents.extend(row[name] for row in rows)
    return made.SerializeToString()


@EXAMPLES
@given(method=st.sampled_from(METHODS), content=st.binary(max_size=300))
def test_random_bytes_to_any_method(status, method, content):
    assert status(method, content) not in OURS


@EXAMPLES
@given(data=st.data())
def test_damaged_requests(status, home, data):
    content = bytearray(a_request(home.requests(3)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert status("ModelInfer", bytes(content)) not in OURS


NAMES = st.sampled_from(["flight_id", "departs", "carrier", "distance", "hour", "X", ""])
DATATYPES = st.sampled_from(["BYTES", "BOOL", "INT8", "UINT64", "FP16", "BF16", "FP64", ""])
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5)


@st.composite
def tensors(draw):
    """Something like an input: right in form, or nearly."""
    found = {
        "name": draw(NAMES),
        "shape": draw(st.lists(st.integers(-1, 3) | st.integers(0, 2**62), max_size=3)),
        "datatype": draw(DATATYPES),
        "data": draw(st.lists(SCALARS | st.lists(SCALARS, max_size=3), max_size=4)),
        "parameters": draw(
            st.none() | st.dictionaries(st.sampled_from(["binary_data_size", "x"]), SCALARS, max_size=2)
        ),
    }
    return {name: value for name, value in found.items() if draw(st.integers(0, 9)) or name == "name"}


BODIES = st.fixed_dictionaries(
    {"inputs": st.lists(tensors(), max_size=5)},
    optional={
        "id": st.text(max_size=3),
        "parameters": st.dictionaries(st.sampled_from(["explain", "binary_data_output", "x"]), SCALARS, max_size=2),
        "outputs": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["score", "outputs", "x"])}), max_size=3),
    },
)


@EXAMPLES
@given(body=BODIES, more=st.binary(max_size=20), off=st.integers(-2, 2))
def test_nearly_right_tensors(client, body, more, off):
    head = msgspec.json.encode(body)
    length = {"inference-header-content-length": str(len(head) + off)} if more else {}
    answer = client.post("/v2/models/late/infer", content=head + more, headers=length)
    assert answer.status_code < 500 or answer.json()["code"] == "explain.no_background", answer.text


PATHS = ["/v2/models/late/infer", "/predict/late", "/invocations/late", "/invocations", "/v2/repository/index"]
TYPES = st.sampled_from(["application/json", "text/csv", "application/octet-stream", "é".encode("latin-1"), ""])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@EXAMPLES
@given(path=st.sampled_from(PATHS), kind=TYPES, body=st.binary(max_size=200) | JSON.map(msgspec.json.encode))
def test_random_bodies(client, path, kind, body):
    assert client.post(path, content=body, headers={"content-type": kind}).status_code < 500


FORM = st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params"])


@EXAMPLES
@given(body=st.dictionaries(FORM, JSON, min_size=1, max_size=2))
def test_random_forms_of_mlflow(client, body):
    assert client.post("/invocations/late", content=json.dumps(body)).status_code < 500


def resident(process):
    """The memory of the workers, in bytes."""
    parent = process.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return sum(int(Path(f"/proc/{child}/statm").read_text().split()[1]) for child in children) * 4096


def test_memory_does_not_grow(process, status, client, home):
    """Counted from when everything has been used once: what is cached then is all that is."""
    chance = np.random.default_rng(0)
    right = a_request(home.requests(3))

    def ask(times):
        for number in range(times):
            damaged = bytearray(right)
            damaged[chance.integers(len(right))] = chance.integers(256)
            status("ModelInfer", bytes(damaged))
            status(METHODS[number % len(METHODS)], chance.bytes(200))
            client.post(PATHS[number % len(PATHS)], content=chance.bytes(2000))
            client.post(f"/{number}{chance.integers(10**9)}", content=b"{}")

    ask(300)
    before = resident(process)
    ask(1000)
    assert resident(process) - before < GROWTH
