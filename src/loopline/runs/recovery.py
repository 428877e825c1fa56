"""What processes that are gone left in their journals comes into the database; which runs are stale."""

import contextlib
import fcntl
import os
from pathlib import Path

from loopline.errors import NotFound
from loopline.runs import tracking
from loopline.runs.journal import is_held, journals, read
from loopline.storage.database import Database


def recover(database: Database, folder: Path) -> None:
    """Copy journals without a living writer into the database, each value once. A run that ended needs its journal no more."""
    for run_id, path in journals(folder):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            _recover_one(database, run_id, path)


def stale(folder: Path) -> set[str]:
    """Of the runs with journals those that no living process writes: shown as running, they are not."""
    found: dict[str, bool] = {}
    for run_id, path in journals(folder):
        found[run_id] = found.get(run_id, False) or is_held(path)
    return {run_id for run_id, held in found.items() if not held}


def copy(database: Database, run_id: str, path: Path, offset: int) -> int:
    """Copy what stands after `offset` into the database; the offset after it."""
    while True:
        metrics, after = read(path, offset)
        if after == offset:
            return offset
        with database.transaction() as tx:
            tracking.log_history(tx, run_id, metrics)
        offset = after


def _recover_one(database: Database, run_id: str, path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        copy(database, run_id, path, 0)
        if _running(database, run_id):
            os.ftruncate(handle, 0)  # its presence without a writer says that the run is stale
        else:
            path.unlink()
    except NotFound:  # of a run in another database
        return
    finally:
        os.close(handle)


def _running(database: Database, run_id: str) -> bool:
    with database.reading() as tx:
        return tracking.status(tx, run_id) == "running"
