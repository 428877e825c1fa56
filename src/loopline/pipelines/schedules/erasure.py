"""Schedules: params, reasons, subjects of signals. Without the names of persons who are erased."""

from loopline.access.erasure import Eraser
from loopline.access.rows import rows_eraser
from loopline.pipelines.schedules import store
from loopline.storage.database import Database

TABLES = (store.schedule, store.tick, store.signal, store.hook)


def eraser(database: Database) -> Eraser:
    """Takes a person out of this part's rows."""
    return rows_eraser("schedules", database, TABLES)
