"""Executions: params, inputs, results, errors and what remedies said. Without the names of persons who are erased.

Results too large for a row, and what steps printed, are artifacts, which are swept as all artifacts are. What a person's rows went into
is not known: a result that cannot be told to be about them, such as a sum, stays until its execution is pruned.
"""

from loopline.access.erasure import Eraser
from loopline.access.rows import rows_eraser
from loopline.pipelines import store
from loopline.storage.database import Database

TABLES = (store.execution, store.step, store.attempt, store.event, store.cached)


def eraser(database: Database) -> Eraser:
    """Takes a person out of this part's rows."""
    return rows_eraser("pipelines", database, TABLES)
