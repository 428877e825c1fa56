"""Runs: what they were given and read. Without the names of persons who are erased."""

from loopline.access.erasure import Eraser
from loopline.access.rows import rows_eraser
from loopline.runs import store
from loopline.storage.database import Database

TABLES = (store.run, store.run_param, store.run_fact, store.run_input, store.run_artifact, store.search, store.trial)


def eraser(database: Database) -> Eraser:
    """Takes a person out of this part's rows."""
    return rows_eraser("runs", database, TABLES)
