"""gRPC to a real process: who is let in, which status an error has, several workers on one port, and the drain."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from time import perf_counter

import grpc
import grpc.aio
import pytest

from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    LooplineError,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    Unavailable,
)
from loopline.scoring.spool import claim_spool
from loopline.server.protocols.oip.messages import METHODS, SERVICE, messages, parse
from loopline.server.scoring.batcher import Batchers
from loopline.server.scoring.group_commit import GroupCommit
from loopline.server.scoring.grpc_methods import Asked, GrpcMethods
from loopline.server.scoring.grpc_server import GrpcServer
from loopline.server.scoring.http import BODY_LIMIT
from loopline.server.scoring.inference import Inference
from loopline.server.scoring.loading import Loader
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.predicting import Predicting
from loopline.server.scoring.repository import Repository
from loopline.server.scoring.serving import Serving
from loopline.server.scoring.tracing import Trace
from loopline.server.scoring.unloaded import Unloaded
from loopline.storage.artifacts import open_artifacts


@pytest.fixture(scope="module")
def process(home, start):
    """A process that speaks gRPC, too."""
    with start(home, grpc=True) as started:
        yield started


def call(channel, method, message=b"", token="ll_all", **options):
    """The response to a message; the error's status and our code where there is none."""
    content = message if isinstance(message, bytes) else message.SerializeToString()
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    stub = channel.unary_unary(f"/{SERVICE}/{method}")
    try:
        return parse(f"{method}Response", stub(content, metadata=metadata, timeout=30, **options))
    except grpc.RpcError as error:
        return error.code().name, dict(error.trailing_metadata() or ()).get("loopline-code")


@pytest.fixture(scope="module")
def channel(process):
    with grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as opened:
        yield opened


def infer(rows, endpoint="late", **fields):
    made = messages()["ModelInferRequest"](model_name=endpoint, **fields)
    kinds = {"flight_id": "BYTES", "departs": "BYTES", "carrier": "BYTES", "distance": "FP64", "hour": "INT64"}
    contents = {"BYTES": "bytes_contents", "FP64": "fp64_contents", "INT64": "int64_contents"}
    for name, datatype in kinds.items():
        one = made.inputs.add(name=name, datatype=datatype, shape=[len(rows)])
        values = [row[name].encode() if datatype == "BYTES" else row[name] for row in rows]
        getattr(one.contents, contents[datatype]).extend(values)
    return made


def test_predictions_are_the_models(channel, home):
    answer = call(channel, "ModelInfer", infer(home.requests(20), id="7"))
    outputs = {one.name: one.contents for one in answer.outputs}
    assert list(outputs["score"].fp64_contents) == pytest.approx(list(home.predictor(1).predict(home.rows.head(20))))
    assert (answer.model_name, answer.model_version, answer.id) == ("late", "1", "7")


def test_a_key_of_idempotence_gives_the_same_predictions(channel, home):
    def ids(key):
        metadata = (("authorization", "Bearer ll_all"), ("idempotency-key", key))
        stub = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        answer = parse("ModelInferResponse", stub(infer(home.requests(2)).SerializeToString(), metadata=metadata))
        return next(list(one.contents.bytes_contents) for one in answer.outputs if one.name == "prediction_id")

    assert ids("k") == ids("k") != ids("l")


def named(method, **fields):
    return messages()[f"{method}Request"](**fields)


REFUSED = [
    ("ModelInfer", {}, None, "UNAUTHENTICATED", "token.missing"),
    ("ModelInfer", {"model_name": "late"}, "ll_guess", "UNAUTHENTICATED", "token.unknown"),
    ("ModelInfer", {"model_name": "late"}, "ll_expired", "UNAUTHENTICATED", "token.expired"),
    ("ModelInfer", {"model_name": "late"}, "ll_reader", "PERMISSION_DENIED", "access.not_permitted"),
    ("ModelInfer", {"model_name": "nobody"}, "ll_all", "NOT_FOUND", "scoring.endpoint_not_found"),
    ("ModelInfer", {"model_name": "late", "model_version": "9"}, "ll_all", "NOT_FOUND", "scoring.version_not_served"),
    ("ModelInfer", {"model_name": "late"}, "ll_all", "INVALID_ARGUMENT", "oip.no_inputs"),
    ("ModelMetadata", {"name": "late"}, "ll_scorer", "PERMISSION_DENIED", "access.not_permitted"),
    ("ModelMetadata", {"name": "late"}, None, "UNAUTHENTICATED", "token.missing"),
    ("ModelReady", {"name": "late"}, None, "UNAUTHENTICATED", "token.missing"),
    ("ServerMetadata", {}, None, "UNAUTHENTICATED", "token.missing"),
    ("RepositoryIndex", {}, None, "UNAUTHENTICATED", "token.missing"),
    ("RepositoryModelLoad", {"model_name": "late"}, "ll_all", "PERMISSION_DENIED", "access.not_permitted"),
    ("RepositoryModelUnload", {"model_name": "late"}, "ll_scorer", "PERMISSION_DENIED", "access.not_permitted"),
]


@pytest.mark.parametrize(("method", "fields", "token", "status", "code"), REFUSED)
def test_who_and_what_is_refused(channel, method, fields, token, status, code):
    assert call(channel, method, named(method, **fields), token) == (status, code)


def test_only_probes_need_no_token(channel):
    needless = {
        method for method in METHODS if call(channel, method, token=None) != ("UNAUTHENTICATED", "token.missing")
    }
    assert needless == {"ServerLive", "ServerReady"}


def test_what_is_no_message_no_method_or_too_large_is_refused(channel):
    assert call(channel, "ModelInfer", b"\xff\xff") == ("INVALID_ARGUMENT", "oip.bad_message")
    large = named("ModelInfer", model_name="x" * (BODY_LIMIT + 1))
    assert call(channel, "ModelInfer", large) == ("RESOURCE_EXHAUSTED", None)
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/{SERVICE}/ModelStreamInfer")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture
def in_process(home, tmp_path):
    """What answers calls, without a transport, and the spool it writes to."""
    settings = Settings.read(home.path, {})
    loader = Loader(settings, open_artifacts(settings.artifacts_url), list, clock=SystemClock(), instance="i")
    serving, unloaded = loader.load(Serving()), Unloaded()
    spool = claim_spool(tmp_path / "spool", fsync=False)
    predicting = Predicting(GroupCommit(spool, fsync=False), Metrics(), Batchers(), unloaded)
    methods = GrpcMethods(
        Inference(predicting), Repository(unloaded), lambda: serving, lambda: None, clock=SystemClock()
    )
    yield methods, tmp_path / "spool"
    spool.close()


class Behind:
    """Serves nothing until it is told to catch up, as often as it is behind."""

    def __init__(self, there):
        self.serving, self._there, self.caught_up = Serving(), there, 0

    def behind(self):
        return self.caught_up == 0

    async def catch_up(self):
        self.caught_up += 1
        self.serving = self._there


def test_a_token_and_an_endpoint_are_there_the_moment_they_are_published(in_process, home):
    methods, _ = in_process
    follower = Behind(methods._current())
    methods._current, methods._follower = lambda: follower.serving, lambda: follower
    head, content = {"authorization": "Bearer ll_all"}, infer(home.requests(2)).SerializeToString()
    answer = parse(
        "ModelInferResponse", asyncio.run(methods.answer("ModelInfer", content, Asked(head, perf_counter())))
    )
    assert (answer.model_name, follower.caught_up) == ("late", 1)
    with pytest.raises(NotAuthenticated) as caught:
        asyncio.run(methods.answer("ModelInfer", content, Asked({"authorization": "Bearer ll_guess"}, perf_counter())))
    assert (caught.value.code, follower.caught_up) == ("token.unknown", 1)


def test_nothing_is_scored_for_a_caller_whose_deadline_passed(in_process, home):
    methods, folder = in_process
    head, content = {"authorization": "Bearer ll_all"}, infer(home.requests(2)).SerializeToString()

    def logged():
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    nothing = logged()
    with pytest.raises(Unavailable) as caught:
        asyncio.run(methods.answer("ModelInfer", content, Asked(head, perf_counter(), perf_counter() - 1)))
    assert (caught.value.code, logged()) == ("scoring.deadline_exceeded", nothing)
    in_time = Asked(head, perf_counter(), perf_counter() + 60, Trace("0af7651916cd43dd8448eb211c80319c"))
    answer = parse("ModelInferResponse", asyncio.run(methods.answer("ModelInfer", content, in_time)))
    assert in_time.trace.id.encode() in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert len(answer.outputs) == 6
    assert logged() > nothing


def listeners(port):
    """How many sockets listen on a port of this machine."""
    lines = [line for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def alone(port):
    """A connection of its own, to whichever worker the kernel chooses."""
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])


def test_several_workers_share_the_port_and_a_dead_one_is_replaced(home, start):
    with start(home, grpc=True, workers=2) as process:
        port = process.grpc_port
        until(lambda: listeners(port) == 2)
        for _ in range(10):
            with alone(port) as channel:
                assert call(channel, "ServerReady", token=None).ready
        parent = process.process.pid
        first = int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])
        os.kill(first, signal.SIGKILL)
        until(lambda: first not in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()))
        until(lambda: listeners(port) == 2)
        for _ in range(10):
            with alone(port) as channel:
                assert call(channel, "ModelInfer", infer(home.requests(1))).model_name == "late"


class Methods:
    """Stands in for what answers: raises, or waits until it is let go."""

    def __init__(self):
        self.error = None
        self.deadlines = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def answer(self, method, content, asked):  # noqa: ARG002 - as it is called
        self.deadlines.append(None if asked.deadline is None else asked.deadline - asked.arrived)
        self.begun.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return content


@contextlib.asynccontextmanager
async def serving(methods):
    server = GrpcServer(methods, Metrics(), host="127.0.0.1", port=0)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield server, channel.unary_unary(f"/{SERVICE}/ServerLive")
    await server.stop(0)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput("a.b", "c"), "INVALID_ARGUMENT"),
        (NotFound("a.b", "c"), "NOT_FOUND"),
        (Conflict("a.b", "c"), "ABORTED"),
        (NotAuthenticated("a.b", "c"), "UNAUTHENTICATED"),
        (NotPermitted("a.b", "c"), "PERMISSION_DENIED"),
        (Unavailable("a.b", "c"), "UNAVAILABLE"),
        (Unavailable("scoring.deadline_exceeded", "c"), "DEADLINE_EXCEEDED"),
        (InvalidInput("http.body_too_large", "c"), "RESOURCE_EXHAUSTED"),
        (InvalidInput("http.bad_timeout", "c"), "INVALID_ARGUMENT"),
        (Corrupt("a.b", "c"), "INTERNAL"),
        (LooplineError("a.b", "c"), "INTERNAL"),
        (ZeroDivisionError("secret"), "INTERNAL"),
    ],
)
def test_each_error_has_its_status(error, status):
    async def main():
        methods = Methods()
        methods.error = error
        async with serving(methods) as (_, ask):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(b"")
            return caught.value

    found = asyncio.run(main())
    assert found.code().name == status
    assert "secret" not in found.details()
    assert dict(found.trailing_metadata())["loopline-code"] == getattr(error, "code", "server.internal")


def test_a_deadline_is_handed_on():
    async def main():
        methods = Methods()
        async with serving(methods) as (_, ask):
            await ask(b"")
            await ask(b"", timeout=60)
        return methods.deadlines

    without, within = asyncio.run(main())
    assert without is None
    assert 55 < within < 61


def test_what_is_under_way_is_answered_before_it_stops():
    async def main():
        methods = Methods()
        methods.go.clear()
        async with serving(methods) as (server, ask):
            under_way = asyncio.ensure_future(ask(b"\x08\x01"))
            await methods.begun.wait()
            stopping = asyncio.ensure_future(server.stop(30))
            await asyncio.sleep(0.05)
            assert not stopping.done()
            methods.go.set()
            await stopping
            assert await under_way == b"\x08\x01"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(b"")
            return caught.value.code().name

    assert asyncio.run(main()) == "UNAVAILABLE"


def test_a_port_that_is_taken_is_told():
    async def main():
        async with serving(Methods()):
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                server = GrpcServer(Methods(), Metrics(), host="127.0.0.1", port=taken.getsockname()[1])
                with pytest.raises(Unavailable) as caught:
                    await server.start()
                return caught.value.code

    assert asyncio.run(main()) == "grpc.port_taken"


def test_a_process_whose_port_is_taken_does_not_start(home):
    with socket.socket() as taken, socket.socket() as free:
        for one in (taken, free):
            one.bind(("127.0.0.1", 0))
        taken.listen()
        http, port = free.getsockname()[1], taken.getsockname()[1]
        free.close()
        done = subprocess.run(
            [sys.executable, "-m", "loopline.server.scoring", "--home", str(home.path), "--port", str(http)],
            env={**os.environ, "LOOPLINE_GRPC_PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode != 0
    assert "scoring.port_taken" in done.stderr
    assert "LOOPLINE_GRPC_PORT" in done.stderr


def test_each_call_is_a_line_of_the_access_log(own_home, start, monkeypatch):
    monkeypatch.setenv("LOOPLINE_ACCESS_LOG", "1")
    own_home.deploy(1, sequence=1)
    with start(own_home, grpc=True) as process:
        with alone(process.grpc_port) as channel:
            call(channel, "ModelInfer", infer(own_home.requests(2)))
            refused = call(channel, "ModelInfer", infer(own_home.requests(1)), token="ll_reader")
            assert refused[0] == "PERMISSION_DENIED"
            call(channel, "ServerLive", token=None)
        port = process.port
    lines = [json.loads(line) for line in (own_home.path / "log" / f"access-{port}.jsonl").read_text().splitlines()]
    told = [line for line in lines if line["method"] == "GRPC"]
    assert [(line["path"].rpartition("/")[2], line["status"], line.get("principal")) for line in told] == [
        ("ModelInfer", 200, "all"),
        ("ModelInfer", 403, "reader"),
        ("ServerLive", 200, None),
    ]
    assert told[0]["bytes_in"] > 0 < told[0]["bytes_out"]
