"""The journal of a live run: each metric is in a file before its call returns, so that killing the process loses none.

A process appends to a journal of its own and holds a lock on it for as long as it lives. A thread copies what was appended
into the database. A journal without its lock is of a process that is gone: whoever looks next copies the rest of it.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from loopline.errors import Unavailable
from loopline.runs.run import Metric
from loopline.values import from_micros, micros

_SUFFIX = ".journal"
_READ = 1 << 20
_ENCODE = msgspec.json.Encoder().encode
_LINE = msgspec.json.Decoder(tuple[str, int, str, int])


class Journal:
    """Appends metrics of one run from one process; safe from many threads at once."""

    def __init__(self, folder: Path, run_id: str, writer: str) -> None:
        """A new journal `folder`/`run_id`.`writer`.journal, or the same one, gone on with."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{run_id}.{writer}{_SUFFIX}"
        self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)  # at most for as long as `is_held` looks

    def append(self, name: str, step: int, value: float, at: datetime) -> None:
        """Write one value. It survives the death of the process on return. Raises `Unavailable` where the disk is full."""
        # JSON has no NaN, hence the text; the line break before parts from what a full disk may have cut.
        line = b"\n%s\n" % _ENCODE((name, step, repr(value), micros(at)))
        try:
            written = os.write(self._handle, line)
        except OSError as problem:
            raise _cannot_write(self.path, str(problem)) from problem
        if written < len(line):
            raise _cannot_write(self.path, "no space is left")

    def close(self, *, remove: bool) -> None:
        """Let go of the lock; `remove` the file where all of it is in the database."""
        if remove:
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.close(self._handle)


def read(path: Path, offset: int) -> tuple[list[Metric], int]:
    """The whole lines after `offset`, at most a mebibyte of them, and the offset after them. A torn line is left out."""
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(_READ)
    whole = content[: content.rfind(b"\n") + 1]
    return list(_metrics(whole)), offset + len(whole)


def _metrics(content: bytes) -> Iterator[Metric]:
    for line in content.split(b"\n"):
        with contextlib.suppress(msgspec.DecodeError):
            name, step, value, at = _LINE.decode(line)
            yield Metric(name=name, step=step, value=float(value), at=from_micros(at))


def journals(folder: Path) -> list[tuple[str, Path]]:
    """Every journal, with the id of its run."""
    return [(path.name.partition(".")[0], path) for path in sorted(folder.glob(f"*{_SUFFIX}"))]


def is_held(path: Path) -> bool:
    """Whether the process that writes the journal lives."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)


def _cannot_write(path: Path, problem: str) -> Unavailable:
    return Unavailable(
        "run.journal_unwritable",
        f"cannot append to {path}: {problem}",
        remedy="Make room on the disk, or set LOOPLINE_HOME to another one.",
    )
