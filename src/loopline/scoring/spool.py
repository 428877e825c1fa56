"""The spool: where predictions are safe before they are acknowledged, and until they are in their table.

Segments are appended to one after the other and sealed by size or age; a shipper takes the sealed ones. A frame that was
appended survives the death of the process, and with `fsync` that of the machine.
"""

import errno
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from loopline.errors import Conflict, InvalidInput, Unavailable
from loopline.scoring.segment import HEADER, LARGEST_PAYLOAD, frames
from loopline.scoring.spool_folder import OPEN, SpoolFolder

_RUN_BYTES = 12
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Spool:
    """Appends payloads to the segments of one folder. One process owns it; its threads may share it."""

    def __init__(
        self,
        folder: Path,
        *,
        fsync: bool,
        segment_bytes: int = 16 << 20,
        segment_seconds: float = 30.0,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Take the folder over, and seal what a process that died left in it.

        A segment is sealed once it holds `segment_bytes` or is `segment_seconds` old. Raises `Conflict` "spool.in_use" where
        another process owns the folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = SpoolFolder(folder)
        self._lock = self.folder.writer_lock()
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._guard = threading.Lock()
        self._segment: _Segment | None = None
        self.id = self.folder.identify(entropy).id
        self.instance = (
            f"{self.id}:{entropy(_RUN_BYTES).hex()}"  # whatever became of what the process before was to write
        )
        self.folder.recover(fsync=fsync)
        self._next = self.folder.unused()

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write all payloads or, where that fails, none: then raises `Unavailable` ("spool.full", "spool.failed"), and what was
        written before stays valid. Raises `InvalidInput` "spool.bad_payload" for one that is empty or too large.
        """
        if not all(0 < len(payload) <= LARGEST_PAYLOAD for payload in payloads):
            raise InvalidInput("spool.bad_payload", f"a payload must have 1 to {LARGEST_PAYLOAD} bytes")
        data = frames(payloads)
        with self._guard:
            try:
                self._seal_if_due()
            except OSError as error:
                _refuse(error)
            segment = self._segment = self._segment or self._open()
            try:
                segment.write(data)
            except OSError as error:
                _refuse(error)
            try:
                segment.sync()
            except OSError as error:
                # After a failed fsync the kernel may call lost pages clean; only a new file can be trusted.
                self._give_up(segment)
                _refuse(error)
            segment.accept()

    def seal_if_due(self) -> None:
        """Seal the present segment if it is old or large enough, or if someone asked for it; to be called now and then when
        nothing is appended.
        """
        with self._guard:
            if self.folder.asked_to_seal():
                self._seal()
            self._seal_if_due()

    def seal(self) -> None:
        """Seal the present segment, so that what was appended up to now can be shipped."""
        with self._guard:
            self._seal()

    def close(self) -> None:
        """Seal the present segment and let the folder go."""
        with self._guard:
            self._seal()
        self._lock.close()

    def _seal_if_due(self) -> None:
        segment = self._segment
        if segment is not None and (segment.size >= self._segment_bytes or segment.age >= self._segment_seconds):
            self._seal()

    def _seal(self) -> None:
        if self._segment is not None:
            number = self._segment.number
            self._segment.close()
            self._segment = None
            self.folder.seal(number, fsync=self._fsync)

    def _open(self) -> "_Segment":
        number = self._next
        path = self.folder.segment(number, OPEN)
        try:
            segment = _Segment(path, number, fsync=self._fsync)
            if self._fsync:
                self.folder.sync()
        except OSError as error:
            path.unlink(missing_ok=True)
            _refuse(error)
        self._next += 1
        return segment

    def _give_up(self, segment: "_Segment") -> None:
        self._segment = None
        segment.close()
        with suppress(OSError):  # left open, it is sealed when the folder is next taken over
            os.truncate(self.folder.segment(segment.number, OPEN), segment.size)
            self.folder.seal(segment.number, fsync=False)


class _Segment:
    """The segment that is appended to. `size` is that of its accepted bytes."""

    def __init__(self, path: Path, number: int, *, fsync: bool) -> None:
        self.number = number
        self.size = len(HEADER)
        self._fsync = fsync
        self._written = 0
        self._opened = time.monotonic()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            self._begin()
        except OSError:
            os.close(self._descriptor)
            raise

    def _begin(self) -> None:
        if os.write(self._descriptor, HEADER) < len(HEADER):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @property
    def age(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self._opened

    def write(self, data: bytes) -> None:
        """Append `data`, or cut off what was written of it and raise `OSError`."""
        self._written = 0
        try:
            while self._written < len(data):
                self._written += os.write(self._descriptor, memoryview(data)[self._written :])
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise

    def sync(self) -> None:
        if self._fsync:
            os.fdatasync(self._descriptor)

    def accept(self) -> None:
        self.size += self._written

    def close(self) -> None:
        os.close(self._descriptor)


def claim_spool(root: Path, *, fsync: bool, segment_bytes: int = 16 << 20, segment_seconds: float = 30.0) -> Spool:
    """The first spool under `root` that no process owns, made if there is none: each scoring process has one of its own."""
    for slot in range(1024):
        with suppress(Conflict):
            return Spool(
                root / f"{slot:04d}", fsync=fsync, segment_bytes=segment_bytes, segment_seconds=segment_seconds
            )
    raise Unavailable("spool.none_free", f"1024 processes own the spools under {root}", remedy="Stop some of them.")


def _refuse(error: OSError) -> NoReturn:
    full = error.errno in _FULL
    raise Unavailable(
        "spool.full" if full else "spool.failed",
        f"the spool cannot be written: {error.strerror}",
        remedy="Free space on its disk." if full else "Check its disk.",
    ) from error
