"""Control state without a person's name: texts and JSON of a part's rows, changed in place."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from loopline.access.erasure import Eraser, Removed, Target
from loopline.storage.columns import Json
from loopline.storage.database import Database, Transaction


def rows_eraser(name: str, database: Database, tables: Sequence[sa.Table]) -> Eraser:
    """Puts the pseudonym in the place of all that names the person, in every text and JSON column of `tables`."""

    def sweep(target: Target, *, dry: bool) -> Collection[Removed]:
        with database.reading() if dry else database.transaction() as tx:
            counts = {table.name: change_rows(tx, table, target.needles.hidden_in, dry=dry) for table in tables}
        return [Removed(f"database {table}", "rows changed", count) for table, count in counts.items() if count]

    return Eraser(name, sweep)


def change_rows(tx: Transaction, table: sa.Table, change: Callable[[Any], Any], *, dry: bool) -> int:
    """Put `change(value)` in the place of each text and JSON value; gives how many rows that changes, or with `dry` would."""
    columns = [column for column in table.c if _is_text(column.type)]
    keys = list(table.primary_key.columns)
    count = 0
    for row in tx.execute(sa.select(*{column.name: column for column in [*keys, *columns]}.values())).mappings().all():
        changed = {column.name: change(row[column.name]) for column in columns if row[column.name] is not None}
        changed = {name: value for name, value in changed.items() if value != row[name]}
        if changed:
            count += 1
            if not dry:
                tx.execute(table.update().where(*(key == row[key.name] for key in keys)).values(changed))
    return count


def _is_text(kind: sa.types.TypeEngine[Any]) -> bool:
    return isinstance(kind, (Json, sa.String)) and not (isinstance(kind, TypeDecorator) and not isinstance(kind, Json))
