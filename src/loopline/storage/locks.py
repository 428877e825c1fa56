"""A lock between processes and threads that many may share, or one hold alone."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from loopline.errors import Unavailable

_POLL_SECONDS = 0.02


class SharedLock:
    """A lock on the files `path` and `path`.turn, which stay. It ends with the process that holds it, however that ends.

    A thread that shares it may share it again. Whoever wants it alone is waited for by those who come later, so that it comes to
    its turn.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = path.with_name(f"{path.name}.turn")
        self._mine = threading.local()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold it together with others who share it; waits while one holds it alone."""
        depth = getattr(self._mine, "depth", 0)
        self._mine.depth = depth + 1
        try:
            if depth:
                yield
                return
            with _opened(self._turn) as turn:
                fcntl.flock(turn, fcntl.LOCK_SH)
                held = _open(self._path)
                fcntl.flock(held, fcntl.LOCK_SH)
            with closing(_Descriptor(held)):
                yield
        finally:
            self._mine.depth = depth

    @contextmanager
    def alone(self, *, patience: float) -> Iterator[None]:
        """Hold it alone. Raises `Unavailable` "lock.busy" where others do not let go within `patience` seconds."""
        deadline = time.monotonic() + patience
        with _opened(self._turn) as turn, _opened(self._path) as held:
            for descriptor in (turn, held):
                while not _take(descriptor):
                    if time.monotonic() > deadline:
                        raise Unavailable(
                            "lock.busy",
                            f"others have been writing for {patience:g} seconds ({self._path})",
                            remedy="Try again when the work under way is done, or stop it.",
                        )
                    time.sleep(_POLL_SECONDS)
            yield


class _Descriptor:
    def __init__(self, number: int) -> None:
        self._number = number

    def close(self) -> None:
        os.close(self._number)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    number = _open(path)
    with closing(_Descriptor(number)):
        yield number


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
