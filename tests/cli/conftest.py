"""A home that a short replay of the tiny loop filled, and the command line called on copies of it."""

import io
import json
import os
import pty
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from loopline.cli.main import main

TINY = Path(__file__).parents[1] / "e2e" / "tiny_loop.py"
LOOPLINE = str(Path(sys.executable).parent / "loopline")
QUIET = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "TINY_DRIFT_DAY": "21"}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """What it printed, which must be one JSON value and nothing else."""
        return json.loads(self.out)


def call(*arguments: str) -> Done:
    """The entry point in this process."""
    before, sys.argv = sys.argv, ["loopline", *arguments]
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    finally:
        sys.argv = before
        structlog.reset_defaults()
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def replayed(tmp_path_factory) -> tuple[Path, Done]:
    """The home and how the replay ended; two versions, one promoted, an alarm and its incident."""
    home = tmp_path_factory.mktemp("cli") / "home"
    period = ["--from", "2024-01-01", "--until", "2024-01-30"]
    done = subprocess.run(
        [LOOPLINE, "replay", str(TINY), *period, "--home", str(home), "--json"],
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return home, Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def read_home(replayed) -> Path:
    """The replayed home, for commands that change nothing."""
    return replayed[0]


@pytest.fixture
def home(replayed, tmp_path) -> Path:
    """A copy of the replayed home, the test's own."""
    return Path(shutil.copytree(replayed[0], tmp_path / "home"))


@pytest.fixture
def loopline(home):
    """Calls a command on the test's own home."""
    return lambda *arguments: call(*arguments, "--home", str(home))


@pytest.fixture
def told(loopline):
    """Calls a command with --json; gives the value it printed."""

    def tell(*arguments: str) -> Any:
        done = loopline(*arguments, "--json")
        assert done.code == 0, done.err + done.out
        return done.value

    return tell


@pytest.fixture
def run():
    """Calls the entry point as it is."""
    return call


@pytest.fixture
def on_terminal():
    """What a real process of the command prints on a terminal of 80 columns: standard output alone."""

    def show(*arguments: str) -> str:
        ours, theirs = pty.openpty()
        environment = {**os.environ, **QUIET, "TERM": "dumb", "COLUMNS": "80"}
        process = subprocess.Popen([LOOPLINE, *arguments], stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
        os.close(theirs)
        try:
            return _all(ours).decode().replace("\r\n", "\n")
        finally:
            os.close(ours)
            process.wait(60)

    return show


def _all(descriptor: int) -> bytes:
    content = b""
    while True:
        try:
            part = os.read(descriptor, 1 << 16)
        except OSError:  # how a terminal ends on Linux
            return content
        if not part:
            return content
        content += part


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The loop file that was replayed."""
    return TINY
