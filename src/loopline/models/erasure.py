"""Models: what versions were made from. Without the names of persons who are erased."""

from loopline.access.erasure import Eraser
from loopline.access.rows import rows_eraser
from loopline.models import store
from loopline.storage.database import Database

TABLES = (store.model_version, store.decision_version)


def eraser(database: Database) -> Eraser:
    """Takes a person out of this part's rows."""
    return rows_eraser("models", database, TABLES)
