"""Any command as a run: what it was, where it ran, how it ended, and the end of what it printed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from loopline.app.track import RUN, describe
from loopline.config import Settings
from loopline.errors import InvalidInput, NotFound
from loopline.runs.home import RunHome
from loopline.runs.live import LiveRun
from loopline.runs.run import Status
from loopline.runs.secrets import known_secrets, masked_text

_TAIL = 64 * 1024
_READ = 8192
_LONGEST_LINE = 500
_PATIENCE = 2.0
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)


def run_command(
    settings: Settings, command: Sequence[str], *, name: str | None, project: str, quiet: bool
) -> tuple[str, int]:
    """Run the command as a run of the experiment `name` (what it is called, by default); the run's id and the exit code.

    What it prints goes on to our own output (to standard error with `quiet`), and its end becomes the artifacts `stdout.txt` and `stderr.txt`.
    `ll.track` inside joins the run. A command that a signal ended has the code 128 + signal. Raises `InvalidInput`
    without a command, and `NotFound` where there is none of that name; then there is no run.
    """
    if not command:
        raise InvalidInput("track.no_command", "there is no command to run", remedy="loopline track -- python train.py")
    home = RunHome(settings)
    run_id = home.start(project, name or _called(command), os.environ.get(RUN))
    run = LiveRun(home, run_id)
    describe(run, list(command))
    code, tails = _run(run, command, home, quiet=quiet)
    secrets = known_secrets(os.environ)
    for stream, tail in tails.items():
        if tail:
            run.log_bytes(stream, masked_text(tail.decode(errors="replace"), secrets).encode())
    error = {"error": masked_text(_error(code, tails["stderr.txt"]), secrets)} if code else {}
    run.log_facts({"exit_code": code, **error})
    run.finish(_status(code))
    return run_id, code


def _run(run: LiveRun, command: Sequence[str], home: RunHome, *, quiet: bool) -> tuple[int, dict[str, bytes]]:
    environment = {**os.environ, RUN: run.id, "LOOPLINE_HOME": str(home.settings.home), "PYTHONUNBUFFERED": "1"}
    try:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603 - the user's own command
    except OSError as problem:
        run.log_facts({"error": str(problem)})
        run.finish("failed")
        raise NotFound(
            "track.cannot_start",
            f"{command[0]!r} cannot be started: {problem.strerror}",
            remedy="Give a program and its arguments after --, e.g. loopline track -- python train.py",
        ) from problem
    out = _Tee(process.stdout, sys.stderr if quiet else sys.stdout)
    err = _Tee(process.stderr, sys.stderr)
    with _forwarding(process):
        code = _wait(process)
    tails = {"stdout.txt": out.tail(), "stderr.txt": err.tail()}
    return 128 - code if code < 0 else code, tails


def _wait(process: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal has told the command too; it decides when it ends
            continue


@contextmanager
def _forwarding(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass on what asks us to end, so that the run is told as it was."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.signal(one, lambda number, _: process.send_signal(number)) for one in _FORWARDED}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


class _Tee:
    """Passes on what comes out of a pipe, and keeps the end of it."""

    def __init__(self, pipe: IO[bytes] | None, onto: Any) -> None:
        self._pipe, self._onto, self._kept = pipe, onto, b""
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def tail(self) -> bytes:
        """The end of it, once the command has ended; something it left running may hold the pipe, so not for ever."""
        self._thread.join(_PATIENCE)
        return self._kept

    def _follow(self) -> None:
        if self._pipe is None:
            return
        with self._pipe as pipe:
            while content := os.read(pipe.fileno(), _READ):
                self._kept = (self._kept + content)[-_TAIL:]
                self._pass_on(content)

    def _pass_on(self, content: bytes) -> None:
        try:
            if hasattr(self._onto, "buffer"):
                self._onto.buffer.write(content)
            else:
                self._onto.write(content.decode(errors="replace"))
            self._onto.flush()
        except (OSError, ValueError):  # nobody reads us any more; the run goes on
            return


def _called(command: Sequence[str]) -> str:
    """The script's name, or the program's."""
    scripts = [Path(part).stem for part in command if part.endswith((".py", ".sh", ".R", ".jl", ".ipynb"))]
    modules = [after for word, after in pairwise(command) if word == "-m"]
    return next(iter([*scripts, *modules, Path(command[0]).name]))


def _status(code: int) -> Status:
    if code == 0:
        return "finished"
    return "killed" if code in {130, 137, 143} else "failed"


def _error(code: int, printed: bytes) -> str:
    """How it ended, and the last line that it printed about it."""
    names = {one.value: one.name for one in signal.Signals}
    told = f"ended by {names[code - 128]}" if code - 128 in names else f"exit code {code}"
    lines = printed.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{told}: {last[:_LONGEST_LINE]}" if last else told
