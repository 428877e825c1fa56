"""The contestants take turns: start, check, warm up, load, end."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serving.contestants import APPS, Asker, Contestant, Place
from serving.environments import CannotInstall, installed, python_of
from serving.load import Measured, medians, run_wrk
from serving.model import asked
from serving.running import Ask, Failed, Running, free_port

SIZES, CONNECTIONS = (1, 100), (1, 32)
TOLERANCE = 1e-5

_START, _WARM, _FIRST_ANSWER, _ANSWER = 180.0, 1, 30.0, 3.0


@dataclass(frozen=True)
class Plan:
    """What is measured: where the model is, how many rounds, seconds a cell."""

    folder: Path
    rounds: int
    seconds: int
    favoured: bool = False

    def pinned(self, core: int) -> list[str]:
        """The command that pins what follows it to a core; the last core there is where there are not as many."""
        return ["taskset", "--cpu-list", str(min(core, (os.cpu_count() or 1) - 1))]


@dataclass
class Turns:
    """What a contestant showed up to now."""

    contestant: Contestant
    python: Path
    version: str = ""
    memory_mb: list[float] = field(default_factory=list)
    worker_mb: list[float] = field(default_factory=list)
    cells: dict[str, list[Measured]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def measure(plan: Plan, contestants: Sequence[Contestant]) -> list[dict[str, Any]]:
    """A result for each contestant."""
    everybody = [_prepared(plan, contestant) for contestant in contestants]
    for number in range(plan.rounds):
        for turns in everybody:
            if "cannot" in turns.notes:
                continue
            print(f"round {number + 1}: {turns.contestant.title} {turns.contestant.peer}", file=sys.stderr, flush=True)
            try:
                _turn(plan, turns)
            except Failed as failed:
                turns.notes["cannot"] = str(failed)
    return [_result(turns) for turns in everybody]


def in_process(plan: Plan) -> dict[str, Any]:
    """The limit without any HTTP."""
    command = [*plan.pinned(0), sys.executable, str(APPS / "in_process.py"), str(plan.folder), str(plan.seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    keep = ("rps", "p50_us", "p99_us", "cpu_us")
    cells = {f"JSON/{one['rows']}/1": {**{name: one[name] for name in keep}, "failed": 0} for one in said}
    return {
        "name": "in process",
        "peer": "",
        "title": "limit: the model in process",
        "inside": "ONNX Runtime",
        "cells": cells,
    }


def _prepared(plan: Plan, contestant: Contestant) -> Turns:
    turns = Turns(contestant, Path(sys.executable))
    if not contestant.packages:
        return turns
    try:
        turns.python = python_of(contestant.name, contestant.packages)
        turns.version = installed(turns.python, contestant.package)
        if contestant.prepare is not None:
            command = contestant.prepare(Place(turns.python, plan.folder, plan.folder, 0))
            subprocess.run(command, capture_output=True, text=True, check=True)
    except CannotInstall as error:
        turns.notes["cannot"] = f"cannot be installed here: {error}"
    except subprocess.CalledProcessError as error:
        turns.notes["cannot"] = f"its model cannot be saved: {' '.join(error.stderr.split())[-300:]}"
    return turns


def _turn(plan: Plan, turns: Turns) -> None:
    contestant = turns.contestant
    own = plan.folder / f"{contestant.name}-{contestant.peer}"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    place = Place(turns.python, plan.folder, own, free_port())
    environment = {
        **contestant.environment,
        "BENCH_FOLDER": str(plan.folder),
        "PATH": f"{turns.python.parent}:{os.environ['PATH']}",  # MLflow starts programs by their names
    }
    with Running(
        [*plan.pinned(0), *contestant.command(place)], own, place.port, environment, favoured=plan.favoured
    ) as server:
        server.wait(_START)
        for form, asker in contestant.forms.items():
            try:
                asks = {rows: _checked(plan, server, contestant, asker, rows) for rows in SIZES}
            except Failed as failed:
                turns.notes[form] = str(failed)
                continue
            for rows, ask in asks.items():
                for connections in CONNECTIONS:
                    cell = _cell(plan, server, own, ask, connections)
                    turns.cells.setdefault(f"{form}/{rows}/{connections}", []).append(cell)
        turns.memory_mb.append(server.memory_mb())
        turns.worker_mb.append(server.memory_mb(contestant.worker) if contestant.worker else 0.0)
    if not turns.cells:
        raise Failed("; ".join(turns.notes.values()))


def _checked(plan: Plan, server: Running, contestant: Contestant, asker: Asker, rows: int) -> Ask:
    """A request for `rows` rows, once its answer is that of the model in process."""
    ask = asker(server, asked(plan.folder, rows))
    found = contestant.scores(server.answer(ask, seconds=_FIRST_ANSWER if contestant.first(asker) else _ANSWER))
    expected = np.load(plan.folder / "expected.npy")[:rows]
    if len(found) != len(expected) or not np.abs(np.array(found) - expected).max() <= TOLERANCE:
        raise Failed(f"answers otherwise than the model in process: {found[:3]}, not {expected[:3].tolist()}")
    return ask


def _cell(plan: Plan, server: Running, own: Path, ask: Ask, connections: int) -> Measured:
    prefix = plan.pinned(1)
    run_wrk(ask, server.port, own, connections=connections, seconds=_WARM, prefix=prefix)
    before = server.processor_seconds()
    said = run_wrk(ask, server.port, own, connections=connections, seconds=plan.seconds, prefix=prefix)
    used = server.processor_seconds() - before
    right = max(said["answers"] - said["refused"], 1)
    failed = int(said["refused"] + said["broken"])
    return Measured(right / said["seconds"], said["p50_us"], said["p99_us"], used / right * 1e6, failed)


def _result(turns: Turns) -> dict[str, Any]:
    contestant = turns.contestant
    return {
        "name": contestant.name,
        "title": f"{contestant.title} {turns.version}".strip(),
        "inside": contestant.inside,
        "peer": contestant.peer,
        "memory_mb": float(np.median(turns.memory_mb)) if turns.memory_mb else None,
        "worker_mb": float(np.median(turns.worker_mb)) if contestant.worker and turns.worker_mb else None,
        "cells": {name: medians(cells).as_dict() for name, cells in turns.cells.items()},
        "notes": turns.notes,
    }
