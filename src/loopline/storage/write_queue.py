"""Who writes to a SQLite file next: first come, first served, among threads and among processes."""

import fcntl
import os
import threading
import time
from collections import deque
from pathlib import Path

from loopline.errors import Unavailable

_PATIENCE = 30.0


class WriteQueue:
    """Lets those who write to one SQLite file write one after the other.

    SQLite's own wait polls in steps that grow, so that under load whoever waits longest is looked after least. Threads queue in
    memory; the first of each process queues with those of other processes at the lock of the file `path`, which the system
    hands on in turn and which ends with the process that holds it. Where there is no such file, processes meet at SQLite's lock
    alone. Raises `Unavailable` "database.busy" after `patience` seconds.
    """

    def __init__(self, path: Path | None = None, *, patience: float = _PATIENCE) -> None:
        self._path = path
        self._patience = patience
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._taken = False
        self._held: int | None = None

    def __enter__(self) -> None:
        deadline = time.monotonic() + self._patience
        self._wait_for_threads()
        try:
            self._held = self._wait_for_processes(deadline)
        except BaseException:
            self._hand_over()
            raise

    def __exit__(self, *_: object) -> None:
        held, self._held = self._held, None
        if held is not None:
            fcntl.flock(held, fcntl.LOCK_UN)  # a process forked meanwhile has it open too
            os.close(held)
        self._hand_over()

    def _wait_for_threads(self) -> None:
        turn = threading.Lock()
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            turn.acquire()
            self._waiting.append(turn)
        if not turn.acquire(timeout=self._patience) and self._leave(turn):
            raise self._busy()

    def _hand_over(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()  # handed over: nobody can come between
            else:
                self._taken = False

    def _leave(self, turn: threading.Lock) -> bool:
        """Stop waiting; False where the turn came at the last moment."""
        with self._guard:
            if turn not in self._waiting:
                return False
            self._waiting.remove(turn)
            return True

    def _wait_for_processes(self, deadline: float) -> int | None:
        """The descriptor that holds the file's lock; None where there is no file to lock."""
        try:
            descriptor = (
                None if self._path is None else os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            )
        except OSError:
            return None  # SQLite says better what is wrong with the folder
        if descriptor is None:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not _Waiter(descriptor).comes(deadline):
                raise self._busy() from None
        return descriptor

    def _busy(self) -> Unavailable:
        return Unavailable(
            "database.busy",
            f"another transaction has been writing for {self._patience:g} seconds",
            remedy="Keep transactions short, and open none inside another: pass the `tx` on.",
        )


class _Waiter:
    """Waits for a lock in a thread of its own, as the system's wait has no end that one could set."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._guard = threading.Lock()
        self._came = threading.Event()
        self._left = False

    def comes(self, deadline: float) -> bool:
        """Whether the lock is held by now; else it is let go when it comes."""
        threading.Thread(target=self._wait, daemon=True).start()
        if self._came.wait(max(deadline - time.monotonic(), 0.0)):
            return True
        with self._guard:
            self._left = not self._came.is_set()
        return not self._left

    def _wait(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._guard:
            if self._left:
                os.close(self._descriptor)
            else:
                self._came.set()
