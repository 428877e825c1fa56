"""Files that are there whole or not at all, also after a power cut: written aside, synced, then put in place."""

import os
from collections.abc import Callable
from pathlib import Path


def create(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read (0600). Raises `FileExistsError` and changes nothing where there is one."""
    _put(path, content, path.hardlink_to)


def replace(path: Path, content: bytes) -> None:
    """Write a file (0600), over another one if there is: readers see the old content or the new."""
    _put(path, content, lambda half: half.replace(path))


def _put(path: Path, content: bytes, place: Callable[[Path], object]) -> None:
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        place(half)
    finally:
        half.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
