"""The folder that a backup or a restored home is written to: it appears whole under its name, or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopline.app.backup.manifest import File
from loopline.errors import Conflict
from loopline.storage.files import PENDING, make_folder, sync_folder
from loopline.storage.locks import SharedLock
from loopline.values import digest


@contextmanager
def appearing(path: Path, what: str) -> Iterator[Path]:
    """A new folder beside `path`, which becomes `path` at the end of the block; on an error it goes.

    What one that was killed left there goes first. Raises `Conflict` "backup.not_empty" where something is at `path` already.
    """
    target = path.absolute()
    _refuse_taken(target, what)
    make_folder(target.parent)
    pending = target.with_name(f"{PENDING}{target.name}")
    lock = target.with_name(f"{PENDING}{target.name}.lock")
    with SharedLock(lock).alone(patience=0.0):
        try:
            shutil.rmtree(pending, ignore_errors=True)
            pending.mkdir(mode=0o700)
            yield pending
            sync_all(pending)
            _refuse_taken(target, what)
            pending.replace(target)
            sync_folder(target.parent)
        except BaseException:
            shutil.rmtree(pending, ignore_errors=True)
            raise
        finally:
            for left in (lock, lock.with_name(f"{lock.name}.turn")):
                left.unlink(missing_ok=True)


def _refuse_taken(target: Path, what: str) -> None:
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise Conflict(
            "backup.not_empty",
            f"{target} is there already",
            remedy=f"{what} goes into a folder that is not there yet, or is empty. Nothing is ever written over.",
        )


def put(folder: Path, name: str, content: bytes, *, mode: int = 0o600) -> File:
    """Write a file that is not there yet, durable but for its folders."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    return File(digest(content), len(content), mode)


def sync_all(folder: Path) -> None:
    """Make the names of a folder and of all below it durable."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            sync_folder(path)
