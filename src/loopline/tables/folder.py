"""A table's folder on a local disk: whole files appear under their final names, durable, or not at all.

delta-rs and obstore do not fsync local files; this does.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from loopline.errors import Unavailable
from loopline.storage.locks import SharedLock


class Folder:
    """Writes and reads files below `path`. Writers share its `lock`; an erasure holds it alone. With `durable`, what a call has written survives the death of the machine once the
    call returns; without, only that of the process. Safe between threads and processes.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path = path
        self.durable = durable
        self.lock = SharedLock(path / "_lock")

    def make(self, child: str) -> None:
        """Make the folder and its `child`, and make their names durable."""
        with _as_unavailable(self.path):
            target = self.path / child
            missing = [one for one in target.parents if not one.exists()]
            target.mkdir(parents=True, exist_ok=True)
            # The last two are synced in any case: one that was killed may have made them, and not have come this far.
            for made in {target, self.path, *missing}:
                self._sync_folder(made.parent)

    def sync(self, child: str) -> None:
        """Make durable what was created in the folder `child`, by whichever process."""
        with _as_unavailable(self.path / child):
            self._sync_folder(self.path / child)

    def put(self, name: str, content: bytes) -> None:
        """Write `name`, replacing what was there."""
        target = self.path / name
        with _as_unavailable(target), self._temporary(target, content) as temporary:
            temporary.replace(target)
            self._sync_folder(target.parent)

    def create(self, name: str, content: bytes) -> bool:
        """Write `name` unless it exists; says whether this call made it. Exactly one of several callers at once does.

        The content is durable before the name appears; the name is once its folder was given to `sync`.
        """
        target = self.path / name
        with _as_unavailable(target), self._temporary(target, content) as temporary:
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
        return True

    def remove(self, name: str) -> None:
        """Remove `name`, if it is there."""
        target = self.path / name
        with _as_unavailable(target):
            target.unlink(missing_ok=True)

    def read(self, name: str) -> bytes | None:
        """The content of `name`, or None if there is none."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _temporary(self, target: Path, content: bytes) -> Iterator[Path]:
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                if self.durable:
                    os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _sync_folder(self, folder: Path) -> None:
        if not self.durable:
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _as_unavailable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            "table.write_failed",
            f"cannot write {path}: {error.strerror or error}",
            remedy="Check free space and permissions, then try again: the same writer and sequence is never committed twice.",
        ) from error
