"""The contestants take turns: a new folder, a new database, its program from beginning to end."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopline.storage.database import Database
from loopline.testing.postgres import scratch_database
from serving.environments import CannotInstall, python_of
from serving.tree import end
from steps.contestants import APPS, Contestant

PHASES = ("one", "sequence", "fan_out")


@dataclass(frozen=True)
class Plan:
    """`steps` bounds what anybody is given; `patience` is how many seconds a turn may take; `server` is PostgreSQL's URL."""

    folder: Path
    rounds: int
    steps: int
    patience: int
    server: str | None


@dataclass
class Turns:
    """What a contestant showed up to now."""

    contestant: Contestant
    python: Path
    phases: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    cannot: str = ""


def measure(plan: Plan, contestants: Sequence[Contestant]) -> list[dict[str, Any]]:
    """A result for each contestant."""
    everybody = [_prepared(contestant) for contestant in contestants]
    for number in range(plan.rounds):
        for turns in everybody:
            if not turns.cannot:
                print(f"round {number + 1}: {turns.contestant.title}", file=sys.stderr, flush=True)
                _turn(plan, turns)
    return [_result(turns) for turns in everybody]


def _prepared(contestant: Contestant) -> Turns:
    turns = Turns(contestant, Path(sys.executable))
    if contestant.packages:
        name = contestant.name.partition("-")[0]
        try:
            turns.python = python_of(f"steps-{name}", contestant.packages, as_ours=())
        except CannotInstall as error:
            turns.cannot = f"cannot be installed here: {error}"
    return turns


def _turn(plan: Plan, turns: Turns) -> None:
    contestant = turns.contestant
    own = plan.folder / contestant.name
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    with _database(plan, contestant, own) as (url, also):
        environment = {
            **os.environ,
            **{name: value.format(folder=own) for name, value in contestant.environment.items()},
            "BENCH_FOLDER": str(own),
            "BENCH_DATABASE": url,
            "BENCH_ALSO": also,
            "BENCH_SEQUENCE": str(min(plan.steps, contestant.sequence)),
            "BENCH_FAN_OUT": str(min(plan.steps, contestant.fan_out)),
            "PATH": f"{turns.python.parent}:{os.environ['PATH']}",
        }
        with (own / "log").open("wb") as log:
            command = [str(turns.python), str(APPS / contestant.app)]
            process = subprocess.Popen(
                command, env=environment, cwd=own, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
            try:
                said, _ = process.communicate(timeout=plan.patience)
            except subprocess.TimeoutExpired:
                end(process.pid, patience=5)
                said, _ = process.communicate()
                turns.cannot = f"a turn took more than {plan.patience} s"
    if process.returncode and not turns.cannot:
        turns.cannot = (
            f"ended with {process.returncode}: {' '.join((own / 'log').read_text(errors='replace').split())[-300:]}"
        )
    for line in said.splitlines():
        if line.startswith('{"phase"'):
            found = json.loads(line)
            turns.phases.setdefault(found["phase"], []).append(found)
    shutil.rmtree(own, ignore_errors=True)


@contextmanager
def _database(plan: Plan, contestant: Contestant, own: Path) -> Iterator[tuple[str, str]]:
    """The URL of a new database, and the processes whose processor time counts as well."""
    if contestant.database == "sqlite":
        yield f"sqlite:///{own / 'steps.db'}", ""
        return
    if plan.server is None:
        raise AssertionError("a server is started where somebody needs one")
    with scratch_database(plan.server, "steps") as url:
        yield url, postmaster(plan.server)


def postmaster(url: str) -> str:
    """The process whose descendants are the server."""
    opened = Database.open(url)
    try:
        with opened.reading() as tx:
            text = tx.exec_driver_sql("select pg_read_file('postmaster.pid')").scalar_one()
            return str(text).split()[0]
    finally:
        opened.close()


def _result(turns: Turns) -> dict[str, Any]:
    contestant = turns.contestant
    phases = {}
    for name in PHASES:
        found = turns.phases.get(name, [])
        if found:
            steps = int(found[0]["steps"])
            phases[name] = {
                "steps": steps,
                "ms": statistics.median(one["seconds"] for one in found) / steps * 1e3,
                "cpu_ms": statistics.median(one["cpu"] for one in found) / steps * 1e3,
                "per_second": steps / statistics.median(one["seconds"] for one in found),
                "rounds": len(found),
            }
    return {
        "name": contestant.name,
        "title": " ".join([contestant.title, *(one.partition("==")[2] for one in contestant.packages)]),
        "role": contestant.role,
        "database": contestant.database,
        "limit": contestant.limit,
        "phases": phases,
        "cannot": turns.cannot,
    }
