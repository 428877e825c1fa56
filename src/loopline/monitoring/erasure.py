"""Monitoring: profiles with their examples, the evidence of alarms. Without the names of persons who are erased."""

from loopline.access.erasure import Eraser
from loopline.access.rows import rows_eraser
from loopline.monitoring import store
from loopline.storage.database import Database

TABLES = (store.monitor, store.performance, store.profile_block, store.alarm)


def eraser(database: Database) -> Eraser:
    """Takes a person out of this part's rows."""
    return rows_eraser("monitoring", database, TABLES)
