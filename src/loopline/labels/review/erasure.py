"""A person in the review queue: items about their rows go, with what reviewers said of them, and notes lose their names."""

from collections.abc import Collection

from loopline.access.erasure import Eraser, Removed, Target
from loopline.access.rows import change_rows
from loopline.labels.review import store
from loopline.storage.database import Database

TABLES = (store.review_item, store.review_answer, store.review_mark)


def eraser(database: Database) -> Eraser:
    """Takes a person out of this part's rows."""

    def sweep(target: Target, *, dry: bool) -> Collection[Removed]:
        with database.reading() if dry else database.transaction() as tx:
            theirs = [
                item
                for table, keys in target.traces.keys.items()
                if table not in target.kept
                for item, key in store.keyed(tx, table)
                if key in keys
            ]
            if not dry:
                store.delete_items(tx, theirs)
            counts = {table.name: change_rows(tx, table, target.needles.hidden_in, dry=dry) for table in TABLES}
        removed = [Removed("reviews", "items", len(theirs))] if theirs else []
        return [*removed, *(Removed(f"database {name}", "rows changed", n) for name, n in counts.items() if n)]

    return Eraser("reviews", sweep)
