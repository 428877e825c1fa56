"""Drives Loopline's path in process, stage by stage, on a home that `loopline serve` made; prints microseconds of processor time.

python our_stages.py HOME TOKEN BODY SCRATCH
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.scoring.block import encode
from loopline.scoring.engine import Caller
from loopline.scoring.spool import Spool
from loopline.server.scoring.app import App
from loopline.server.scoring.batcher import Batchers
from loopline.server.scoring.connection import Connection
from loopline.server.scoring.endpoints import Endpoints
from loopline.server.scoring.group_commit import GroupCommit
from loopline.server.scoring.http import Request, Response
from loopline.server.scoring.loading import Loader
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.predicting import Predicting
from loopline.server.scoring.reading import Readers
from loopline.server.scoring.serving import Serving
from loopline.storage.artifacts import open_artifacts

HOME, TOKEN, BODY, SCRATCH = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).read_bytes(), Path(sys.argv[4])
BLOCKS, SECONDS = 9, 0.15


class Nowhere:
    """A transport that leads nowhere."""

    def write(self, data: bytes) -> None:
        """Let it go."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        raise SystemExit("the request was refused")


class Fixed:
    """An application that has its answer already: what is left is HTTP."""

    date, draining = b"Thu, 01 Jan 2026 00:00:00 GMT", False

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def handle(self, request: Request) -> Response:  # noqa: ARG002 - whatever is asked
        return Response(200, (), self._answer)

    def refuse(self, error: Exception) -> Response:
        raise error

    def too_many(self, connections: int) -> None:
        """Never."""


def microseconds(call: Callable[[], Any]) -> float:
    """Processor time of a call: the least of some blocks' means."""
    call()
    began = time.perf_counter()
    call()
    count = max(int(SECONDS / (time.perf_counter() - began)), 1)
    means = []
    for _ in range(BLOCKS):
        start = time.thread_time()
        for _ in range(count):
            call()
        means.append((time.thread_time() - start) / count * 1e6)
    return min(means)


async def stages() -> Mapping[str, float]:
    settings = Settings.read(HOME)
    spool = Spool(SCRATCH, fsync=False)
    loader = Loader(settings, open_artifacts(settings.artifacts_url), _no_features, clock=SystemClock(), instance="s")
    metrics = Metrics()
    app = App(
        Endpoints(Predicting(GroupCommit(spool, fsync=False), metrics, Batchers()), metrics),
        metrics,
        clock=SystemClock(),
        host="127.0.0.1",
    )
    app.serving = serving = loader.load(Serving())
    raw = _raw()
    engine = serving.engine("model")
    reader = Readers().of(engine.contract)
    caller = Caller("caller")
    asked = engine.ask(reader.read(BODY)[0])
    scored = engine.score(asked)
    made = engine.answer(asked, scored, caller)
    payloads = [encode(block) for block in made.blocks]
    whole = microseconds(lambda: _connection(app).data_received(raw)) - microseconds(lambda: _connection(app))
    bare = Fixed(b"x" * 200)
    now = SystemClock()
    found = {
        "HTTP: parse the request, write the answer's head": microseconds(lambda: _connection(bare).data_received(raw))
        - microseconds(lambda: _connection(bare)),
        "route": microseconds(lambda: app.router.find("POST", b"/predict/model")),
        "token": microseconds(lambda: serving.identify(TOKEN, now.now(), "model")),
        "JSON to columns, types checked": microseconds(lambda: reader.read(BODY)),
        "contract, features": microseconds(lambda: engine.ask(reader.read(BODY)[0]))
        - microseconds(lambda: reader.read(BODY)),
        "model, ranges": microseconds(lambda: engine.score(asked)),
        "decide, make the record": microseconds(lambda: engine.answer(asked, scored, caller)),
        "encode the record": microseconds(lambda: [encode(block) for block in made.blocks]),
        "append it to the log": microseconds(lambda: spool.append(payloads)),
    }
    found["answer as JSON, counters, the rest"] = whole - sum(found.values())
    return {**found, "all in the process": whole}


def _connection(app: Any) -> Connection:
    made = Connection(app, set(), asyncio.get_running_loop())
    made.connection_made(Nowhere())  # type: ignore[arg-type]
    return made


def _raw() -> bytes:
    head = f"POST /predict/model HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY


def _no_features() -> Any:
    raise RuntimeError("this model looks nothing up")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(stages())))
