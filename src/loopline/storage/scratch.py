"""Folders for copies that one command needs: gone with it, and where it was killed, with the next one."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX, _HELD = "loopline-scratch-", ".held"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, for its owner only, in the folder for temporary files."""
    drop_left_behind()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    held = os.open(folder / _HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def drop_left_behind() -> int:
    """Remove this user's folders whose process died, and say how many: the lock goes with the process, the folder does not."""
    return sum(_dropped(folder) for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"))


def _dropped(folder: Path) -> bool:
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        held = os.open(folder / _HELD, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # just being made, or just being removed
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(held)
    return True
