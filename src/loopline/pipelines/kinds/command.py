"""A script or a shell command as a step: its own process group, a folder of its own, declared files as results."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from loopline.errors import InvalidInput, LooplineError, NotFound, Unavailable
from loopline.runs.secrets import known_secrets, masked_text

_GRACE = 3.0
_POLL = 0.05
_LONGEST_LINE = 500
_NOT_PASSED_ON = {"LOOPLINE_TOKEN"}


@dataclass(frozen=True)
class CommandRun:
    """How a command ended. `exit_code` is 128 + signal where a signal ended it; `files` are the declared ones that are there, by path.

    `stdout` and `stderr` are what it printed, of much the end. `failure` is None where all is well.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    files: dict[str, bytes] = field(default_factory=dict)
    failure: LooplineError | None = None

    def checked(self) -> "CommandRun":
        """Itself, if it did not fail; raises its `failure` otherwise."""
        if self.failure is not None:
            raise self.failure
        return self


def run_command(
    command: str | Sequence[str],
    *,
    folder: Path,
    inputs: Mapping[str, bytes] | None = None,
    outputs: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
    keep: int = 1 << 20,
) -> CommandRun:
    """Run a program with its arguments, or a text with `sh -c`, in `folder`, which is its own; wait until it ends.

    `inputs` are written there first, `outputs` (paths or patterns) are read from there after. `environment` is added to ours, without
    our token. After `timeout` seconds its whole process group is ended: SIGTERM, three seconds later SIGKILL. What it left running when
    it ended is ended, too. `keep` bytes of the end of each stream are kept.

    Raises `InvalidInput` for paths that leave the folder, and `NotFound` where there is no such program; all else is `failure`:
    `command.exit_code`, `command.signal`, `command.timeout`, `command.no_output`.
    """
    for name in [*(inputs or {}), *outputs]:
        _check_inside(name)
    for name, content in (inputs or {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    given = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON} | dict(environment or {})
    arguments = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.monotonic()
        code, late = _run(arguments, folder, given, timeout, out, err)
        seconds = time.monotonic() - begun
        stdout, stderr = _tail(out, keep), _tail(err, keep)
    files, missing = _collected(folder, outputs) if code == 0 else ({}, [])
    failure = _failure(
        "the command" if isinstance(command, str) else arguments[0],
        code,
        late=late,
        timeout=timeout,
        missing=missing,
        stderr=stderr,
        environment=given,
    )
    return CommandRun(code, stdout, stderr, seconds, files, failure)


def _run(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    timeout: float | None,
    out: IO[bytes],
    err: IO[bytes],
) -> tuple[int, bool]:
    """The exit code, and whether time was up. Into files, not pipes: what it leaves behind cannot hold us up."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command
            arguments,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as problem:
        raise NotFound(
            "command.cannot_start",
            f"{arguments[0]!r} cannot be started: {problem.strerror}",
            remedy="Install it, or give its path; see that the folder exists.",
        ) from problem
    late = False
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        late = True
        _end(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    finally:
        _end(process.pid, signal.SIGKILL)
        process.wait()
    return 128 - process.returncode if process.returncode < 0 else process.returncode, late


def _end(group: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, how)


def _tail(stream: IO[bytes], keep: int) -> bytes:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - keep))
    return stream.read()


def _check_inside(name: str) -> None:
    if Path(name).is_absolute() or ".." in Path(name).parts or not name:
        raise InvalidInput(
            "command.bad_path",
            f"{name!r} does not stay in the step's folder",
            remedy="Give a path below it, without `..`.",
        )


def _collected(folder: Path, outputs: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
    """Declared files by their path, and declarations that nothing came of. Links that lead out of the folder are none of them."""
    root = folder.resolve()
    files: dict[str, bytes] = {}
    missing = []
    for pattern in outputs:
        found = [
            path for path in sorted(folder.glob(pattern)) if path.is_file() and path.resolve().is_relative_to(root)
        ]
        files |= {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
        missing += [] if found else [pattern]
    return files, missing


def _failure(
    program: str,
    code: int,
    *,
    late: bool,
    timeout: float | None,
    missing: list[str],
    stderr: bytes,
    environment: Mapping[str, str],
) -> LooplineError | None:
    if late:
        return Unavailable(
            "command.timeout", f"{program} did not end within {timeout:g} seconds and was ended, with all it started",
            remedy="Give it more time, or less to do.", failure="timeout",
        )  # fmt: skip
    said = _last_line(stderr, environment)
    if code > 128 and code - 128 in {one.value for one in signal.Signals}:  # noqa: PLR2004 - what shells say of signals
        name = signal.Signals(code - 128).name
        kind = "capacity" if name == "SIGKILL" else "code"
        remedy = "SIGKILL mostly means that memory ran out." if kind == "capacity" else "See what it printed."
        return Unavailable("command.signal", f"{program} was ended by {name}{said}", remedy=remedy, failure=kind)
    if code:
        kind = "dependency" if code == 127 else "access" if code == 126 else "code"  # noqa: PLR2004 - what shells mean by them
        return InvalidInput(
            "command.exit_code",
            f"{program} ended with exit code {code}{said}",
            remedy="See what it printed.",
            failure=kind,
            exit_code=code,
        )
    if missing:
        return InvalidInput(
            "command.no_output",
            f"{program} ended well but did not write {', '.join(missing)}",
            remedy="Write it there, or declare what it does write.",
            failure="code",
        )
    return None


def _last_line(stderr: bytes, environment: Mapping[str, str]) -> str:
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return f": {masked_text(lines[-1][:_LONGEST_LINE], known_secrets(environment))}" if lines else ""
