"""Local files that are whole or absent, and still there after a power cut.

obstore's local store and local Delta do not fsync, so local bytes that must last are written here.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

PENDING = ".pending-"


def write_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Put `content` at `path` in one step, making its folders: a reader sees the old file or the whole new one.

    `durable` makes it survive the death of the machine: the file is synced before it gets its name, its folder after.
    Raises `OSError`; then the old file is untouched. A failed sync is never tried again: the page may be lost silently.
    """
    make_folder(path.parent, durable=durable)
    handle, pending = tempfile.mkstemp(dir=path.parent, prefix=PENDING)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(handle)
        Path(pending).replace(path)
    except BaseException:
        Path(pending).unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def make_folder(path: Path, *, durable: bool = True) -> None:
    """Make the folder and those above it; `durable` syncs the folder above each one that is new."""
    if path.is_dir():
        return
    make_folder(path.parent, durable=durable)
    path.mkdir(exist_ok=True)
    if durable:
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder last: those that were added, renamed and removed."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Files:
    """Named bytes under one local folder; names are relative paths that the caller has made itself."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._folder = folder
        self._durable = durable

    def write(self, name: str, content: bytes) -> None:
        """Put `content` there, whole or not at all."""
        write_file(self._folder / name, content, durable=self._durable)

    def read(self, name: str) -> bytes | None:
        """The bytes, or None where there is no such name."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def exists(self, name: str) -> bool:
        """Whether there is such a name."""
        return (self._folder / name).is_file()

    def remove(self, name: str) -> None:
        """Delete it; what is not there is passed over."""
        path = self._folder / name
        path.unlink(missing_ok=True)
        if self._durable and path.parent.is_dir():
            sync_folder(path.parent)

    def modified(self, name: str) -> datetime | None:
        """When it was written last, UTC; None where there is no such name."""
        try:
            return datetime.fromtimestamp((self._folder / name).stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def names(self) -> Iterator[str]:
        """Every name, sorted; not what a killed writer left unfinished."""
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and not path.name.startswith(PENDING):
                yield path.relative_to(self._folder).as_posix()


def secret_in(path: Path, *, length: int = 32) -> bytes:
    """The random bytes kept at `path`, readable by its owner only; made by the first who asks, whoever else asks at once."""
    while not path.exists():
        make_folder(path.parent)
        handle, pending = tempfile.mkstemp(dir=path.parent, prefix=PENDING)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(os.urandom(length))
                file.flush()
                os.fsync(handle)
            with suppress(FileExistsError):
                os.link(pending, path)
        finally:
            Path(pending).unlink(missing_ok=True)
        sync_folder(path.parent)
    return path.read_bytes()
