"""The contestants take turns: each gets the same rows in a folder, in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from serving.environments import PLACE, CannotInstall, python_of
from watching.contestants import APPS, EVERYBODY, Contestant
from watching.kept import Kept
from watching.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")

Answer = dict[str, Any]


class Stopped(Exception):
    """Says why there is no answer."""


@dataclass
class Runner:
    """A contestant that can be run."""

    contestant: Contestant
    python: Path

    def run(self, task: Mapping[str, Any], folder: Path, patience: int) -> Answer:
        """What it answers to a task. Raises `Stopped`."""
        where = folder / f"{self.contestant.name}.json"
        where.write_text(json.dumps(task))
        command = [str(self.python), str(APPS / self.contestant.app), str(where)]
        environment = {
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "DO_NOT_TRACK": "1",
            "PYTHONPATH": str(ROOT / "src"),
        }
        if self.contestant.role == "peer":
            environment["PYTHONPATH"] = str(APPS)
        environment |= dict.fromkeys(_THREADS, "1")
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=patience, check=False
            )
        except subprocess.TimeoutExpired:
            message = f"stopped after {patience} s"
            raise Stopped(message) from None
        for line in done.stdout.splitlines():
            if line.startswith('{"answer"'):
                return dict(json.loads(line)["answer"])
        message = f"ended with {done.returncode}: {' '.join(done.stderr.split())[-300:]}"
        raise Stopped(message)


@dataclass
class Rounds:
    """Who takes part in which plan, what was found so far by part, and who was stopped.

    Each piece is kept and said as it comes; a piece that was kept is not measured again. A peer that was stopped in a part is not asked for
    the rest of that part: it would be stopped again.
    """

    runners: Sequence[Runner]
    plan: Plan
    folder: Path
    kept: Kept
    say: Callable[[str], None]
    found: dict[str, list[Any]] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    _out: set[tuple[str, str]] = field(default_factory=set)

    def ask(
        self,
        piece: tuple[str, str],
        runner: Runner,
        task: Callable[[], Mapping[str, Any]],
        judge: Callable[[Answer], Any],
        made: type[Any],
    ) -> None:
        """Let a contestant do the task of a piece, (part, what of it), and judge its answer: a flat dataclass `made`."""
        part, of = piece
        one = runner.contestant
        if (part, one.name) in self._out:
            return
        line = self.kept.find(part, of, one.name)
        if line is None:
            line = {"part": part, "of": of, "contestant": one.name}
            patience = self.plan.patience if one.role == "ours" else self.plan.limit
            try:
                line["found"] = asdict(judge(runner.run(task(), self.folder, patience)))
            except Stopped as why:
                line["stopped"] = str(why)
            self.kept.add(line)
            self.say(f"{part} {of} {one.title}: {line.get('stopped') or _brief(line['found'])}")
        if "found" in line:
            self.found.setdefault(part, []).append(made(**line["found"]))
            return
        self.stopped.append(f"{one.title}, {part} {of}: {line['stopped']}")
        if one.role == "peer":
            self._out.add((part, one.name))


def runner_of(contestant: Contestant) -> Runner:
    """Its environment is made where it is not there yet. Raises `CannotInstall`."""
    if not contestant.packages:
        return Runner(contestant, Path(sys.executable))
    return Runner(contestant, python_of(f"watching-{contestant.name}", contestant.packages, as_ours=()))


def files_of(name: str, below: str) -> Path | None:
    """The folder `below` the installed packages of a contestant, which bring data; None where it cannot be installed."""
    try:
        runner_of(next(one for one in EVERYBODY if one.name == name))
    except CannotInstall:
        return None
    return next(iter(sorted((PLACE / f"watching-{name}").glob(f"lib/python*/site-packages/{below}"))), None)


def _brief(found: Mapping[str, Any]) -> str:
    told = {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}
    return ", ".join(
        f"{key}={value}" for key, value in told.items() if key not in {"contestant", "sentence", "sentence_at_page"}
    )
