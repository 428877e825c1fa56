"""Healing: shapes of messages, params of windows put off. Without the names of persons who are erased."""

from loopline.access.erasure import Eraser
from loopline.access.rows import rows_eraser
from loopline.pipelines.healing import store
from loopline.storage.database import Database

TABLES = (store.failure, store.remedy, store.postponed)


def eraser(database: Database) -> Eraser:
    """Takes a person out of this part's rows."""
    return rows_eraser("healing", database, TABLES)
