"""The contestants take turns: each gets the same rows in a folder, in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.environments import CannotInstall, python_of
from watching.contestants import APPS, Contestant

ROOT = Path(__file__).resolve().parents[2]
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")


@dataclass
class Runner:
    """A contestant that can be run; `cannot` says why not."""

    contestant: Contestant
    python: Path
    cannot: str = ""

    def run(self, task: Mapping[str, Any], folder: Path, patience: int) -> dict[str, Any] | None:
        """What it answers to a task; None where it fails, which `cannot` tells."""
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
            self.cannot = f"took more than {patience} s"
            return None
        for line in done.stdout.splitlines():
            if line.startswith('{"answer"'):
                return dict(json.loads(line)["answer"])
        self.cannot = f"ended with {done.returncode}: {' '.join(done.stderr.split())[-300:]}"
        return None


def runner_of(contestant: Contestant) -> Runner:
    """Its environment is made where it is not there yet."""
    made = Runner(contestant, Path(sys.executable))
    if contestant.packages:
        try:
            made.python = python_of(f"watching-{contestant.name}", contestant.packages, as_ours=())
        except CannotInstall as error:
            made.cannot = f"cannot be installed here: {error}"
    return made
