"""Incidents: their sentences, diagnoses and evidence. Without the names of persons who are erased."""

from loopline.access.erasure import Eraser
from loopline.access.rows import rows_eraser
from loopline.incidents import store
from loopline.storage.database import Database

TABLES = (store.incident, store.notification, store.action_done, store.freeze)


def eraser(database: Database) -> Eraser:
    """Takes a person out of this part's rows."""
    return rows_eraser("incidents", database, TABLES)
