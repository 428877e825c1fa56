"""A spool's folder: its segments in order, its identity, and the locks that keep two processes from being the same writer."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from loopline.errors import Conflict
from loopline.scoring.segment import scan

OPEN, SEALED, TORN, CORRUPT = ".open", ".sealed", ".torn", ".corrupt"

_STATE = "spool.json"
_SEAL = "seal"


class SpoolState(msgspec.Struct, frozen=True):
    """Who this spool is, and the number of the last segment that was shipped. Numbers are never used again."""

    id: str
    shipped: int = 0


class Lock:
    """A lock on a file, held until closed or until the process ends."""

    def __init__(self, path: Path) -> None:
        """Raises `Conflict` "spool.in_use" where another holds it."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise Conflict(
                "spool.in_use",
                f"another process holds {path}",
                remedy="Stop it, or give this one a spool folder of its own.",
            ) from error

    def close(self) -> None:
        os.close(self._descriptor)


class SpoolFolder:
    """The files of one spool."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def writer_lock(self) -> Lock:
        """The lock of the one process that appends. Raises `Conflict` "spool.in_use"."""
        return Lock(self.path / "lock")

    def shipper_lock(self) -> Lock:
        """The lock of the one process that ships. Raises `Conflict` "spool.in_use"."""
        return Lock(self.path / "ship.lock")

    def state(self) -> SpoolState | None:
        """The spool's state; None where no spool was ever here."""
        try:
            return msgspec.json.decode((self.path / _STATE).read_bytes(), type=SpoolState)
        except FileNotFoundError:
            return None

    def keep(self, state: SpoolState) -> None:
        """Replace the state, durably."""
        half = self.path / f".{_STATE}"
        with half.open("wb") as file:
            file.write(msgspec.json.encode(state))
            file.flush()
            os.fsync(file.fileno())
        half.replace(self.path / _STATE)
        self.sync()

    def identify(self, entropy: Callable[[int], bytes]) -> SpoolState:
        """The spool's state, made with a new id of 128 bits where there is none: an id that was ever used elsewhere would make
        tables take this spool's segments for ones they have.
        """
        state = self.state()
        if state is None:
            state = SpoolState(id=entropy(16).hex())
            self.keep(state)
        return state

    def unused(self) -> int:
        """The first number above all that were ever used. Needs the writer's lock; somebody may be shipping meanwhile."""
        present = self.numbers(
            OPEN, SEALED, CORRUPT, TORN
        )  # before the state: what is shipped after this is among them
        state = self.state()
        return max([0 if state is None else state.shipped, *present]) + 1

    def segment(self, number: int, suffix: str) -> Path:
        """Where segment `number` lies."""
        return self.path / f"{number:010d}{suffix}"

    def numbers(self, *suffixes: str) -> list[int]:
        """The numbers of the segments with one of `suffixes`, in order."""
        return sorted(int(path.stem) for path in self.path.iterdir() if path.suffix in suffixes and path.stem.isdigit())

    def recover(self, *, fsync: bool) -> None:
        """Seal what a process that died left open: cut a torn tail off and keep it aside. Needs the writer's lock."""
        for number in self.numbers(OPEN):
            path = self.segment(number, OPEN)
            content = path.read_bytes()
            payloads, end = scan(content)
            if end < len(content):
                self.segment(number, TORN).write_bytes(content[end:])
                os.truncate(path, end)
            if payloads:
                self.seal(number, fsync=fsync)
            else:
                path.unlink()

    def seal(self, number: int, *, fsync: bool) -> None:
        """Mark a segment complete: no more is appended, and it may be shipped."""
        path = self.segment(number, OPEN)
        if fsync:
            _sync(path)
        path.rename(self.segment(number, SEALED))
        if fsync:
            self.sync()

    def ask_to_seal(self) -> None:
        """Have the process that appends seal its segment soon, whichever process that is."""
        (self.path / _SEAL).touch()

    def asked_to_seal(self) -> bool:
        """Whether someone asked since the last time."""
        try:
            (self.path / _SEAL).unlink()
        except FileNotFoundError:
            return False
        return True

    def sync(self) -> None:
        """Make the folder's entries durable."""
        _sync(self.path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
