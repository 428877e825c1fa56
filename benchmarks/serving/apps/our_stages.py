"""Drives Loopline's path in process, on a home that `loopline serve` made, with clocks around its stages; prints
the median of each in microseconds.

python our_stages.py HOME TOKEN BODY SCRATCH
"""

import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.scoring.spool import Spool
from loopline.server.scoring import recording
from loopline.server.scoring.app import App
from loopline.server.scoring.batcher import Batchers
from loopline.server.scoring.connection import Connection
from loopline.server.scoring.endpoints import Endpoints
from loopline.server.scoring.group_commit import GroupCommit
from loopline.server.scoring.http import Response
from loopline.server.scoring.loading import Loader
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.predicting import Predicting
from loopline.server.scoring.reading import Reader
from loopline.server.scoring.serving import Serving
from loopline.server.scoring.together import Together
from loopline.server.scoring.unloaded import Unloaded
from loopline.storage.artifacts import open_artifacts

HOME, TOKEN, BODY, SCRATCH = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).read_bytes(), Path(sys.argv[4])
SECONDS = 4.0
_ALL, _HANDLED, _FLUSHED = "all", "handled", "flushed"


class Nowhere:
    """A transport that leads nowhere."""

    def write(self, data: bytes) -> None:
        """Let it go."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        raise SystemExit("the request was refused")


class Clocks:
    """What has a clock around it, in the very path that requests take, and what it took each time, in microseconds."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = {}

    def around(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        took = self.took.setdefault(stage, [])

        def clocked(*given: Any, **named: Any) -> Any:
            began = time.perf_counter_ns()
            found = call(*given, **named)
            took.append((time.perf_counter_ns() - began) / 1e3)
            return found

        return clocked

    def medians(self) -> dict[str, float]:
        """By stage: a median does not mind that the machine did something else now and then."""
        return {stage: statistics.median(took[len(took) // 5 :]) for stage, took in self.took.items() if took}


async def stages() -> Mapping[str, float]:
    settings = Settings.read(HOME)
    spool = Spool(SCRATCH, fsync=False)
    loader = Loader(settings, open_artifacts(settings.artifacts_url), _no_features, clock=SystemClock(), instance="s")
    metrics = Metrics()
    predictions = Predicting(GroupCommit(spool, fsync=False), metrics, Batchers(), Unloaded())
    app = App(Endpoints(predictions, metrics).routes(), metrics, clock=SystemClock(), host="127.0.0.1")
    app.serving = loader.load(Serving())
    clocks = Clocks()
    engine = app.serving.engine("model")
    for place, name, stage in (
        (app, "handle", _HANDLED),
        (Together, "_flush", _FLUSHED),
        (app.router, "find", "route"),
        (app.serving, "identify", "token"),
        (Reader, "read", "JSON to columns, types checked"),
        (engine, "ask", "contract, features"),
        (engine, "score", "model, ranges"),
        (engine, "answer", "decide, make the record"),
        (recording, "encode", "encode the record"),
        (spool, "append", "append it to the log"),
        (Response, "json", "answer as JSON"),
    ):
        setter = setattr if isinstance(place, type) else object.__setattr__  # what is served is frozen
        setter(place, name, clocks.around(stage, getattr(place, name)))
    connection, raw = Connection(app, set(), asyncio.get_running_loop()), _raw()
    connection.connection_made(Nowhere())  # type: ignore[arg-type]
    gc.collect()
    gc.freeze()  # as the parent of the workers does
    began, took = time.perf_counter(), clocks.took.setdefault(_ALL, [])
    while time.perf_counter() - began < SECONDS:
        start = time.perf_counter_ns()
        connection.data_received(raw)
        await asyncio.sleep(0)  # what came in one turn of the loop is answered at its end
        took.append((time.perf_counter_ns() - start) / 1e3)
    found = clocks.medians()
    whole, inside = found.pop(_ALL), found.pop(_HANDLED) + found.pop(_FLUSHED, 0.0)
    rest = inside - sum(found.values())
    return {"HTTP, the loop's turn": whole - inside, **found, "counters, the rest": rest, "all in the process": whole}


def _raw() -> bytes:
    head = f"POST /predict/model HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY


def _no_features() -> Any:
    raise RuntimeError("this model looks nothing up")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(stages())))
