"""A table's folder on a local disk. delta-rs and obstore do not fsync local files; this does."""

import contextlib
import os
import threading
from collections.abc import Collection, Hashable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from loopline.storage.locks import SharedLock
from loopline.tables.folder import cannot_write


class LocalFolder:
    """A `Folder` below `path`. With `durable`, what a call has written survives the death of the machine once the call returns;
    without, only that of the process.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path = path
        self.durable = durable
        self.lock = SharedLock(path / "_lock")

    @property
    def url(self) -> str:
        """The path."""
        return str(self.path)

    def make(self, child: str) -> None:
        """Make the folders that are missing."""
        with _as_unavailable(self.path):
            target = self.path / child
            missing = [one for one in target.parents if not one.exists()]
            target.mkdir(parents=True, exist_ok=True)
            # The last two are synced in any case: one that was killed may have made them, and not have come this far.
            for made in {target, self.path, *missing}:
                self._sync_folder(made.parent)

    def sync(self, child: str) -> None:
        """Sync the folder."""
        with _as_unavailable(self.path / child):
            self._sync_folder(self.path / child)

    def put(self, name: str, content: bytes) -> None:
        """Write another file, and give it the name."""
        target = self.path / name
        with _as_unavailable(target), self._temporary(target, content) as temporary:
            temporary.replace(target)
            self._sync_folder(target.parent)

    def create(self, name: str, content: bytes) -> bool:
        """Write another file, and link it to the name."""
        target = self.path / name
        with _as_unavailable(target), self._temporary(target, content) as temporary:
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
        return True

    def remove(self, name: str) -> None:
        """Remove the file."""
        target = self.path / name
        with _as_unavailable(target):
            target.unlink(missing_ok=True)

    def read(self, name: str) -> bytes | None:
        """The file's bytes."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def read_on(self, names: Iterable[str]) -> Iterator[bytes]:
        """One after the other."""
        for name in names:
            content = self.read(name)
            if content is None:
                return
            yield content

    def size(self, name: str) -> int | None:
        """The file's size."""
        try:
            return (self.path / name).stat().st_size
        except FileNotFoundError:
            return None

    def modified(self, name: str) -> datetime | None:
        """The file's time."""
        try:
            return datetime.fromtimestamp((self.path / name).stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def marks(self, names: Collection[str]) -> list[Hashable]:
        """Inode, time and size."""
        return [self._mark(name) for name in names]

    def names(self) -> list[str]:
        """The files below."""
        found = self.path.rglob("*")
        return sorted(path.relative_to(self.path).as_posix() for path in found if path.is_file())

    def scanned(self, names: Collection[str]) -> list[str]:
        """The files' paths."""
        return [str(self.path / name) for name in names]

    def fetched(self, names: Collection[str], scratch: Path) -> list[Path]:  # noqa: ARG002 - nothing has to be copied
        """The files themselves."""
        return [self.path / name for name in names]

    def _mark(self, name: str) -> Hashable:
        try:
            stat = (self.path / name).stat()
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

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
        raise cannot_write(str(path), error.strerror or error) from error
