"""The newest rows of a table, without reading the rest of it."""

from collections.abc import Iterable

import polars as pl

from loopline.tables.table import Table
from loopline.values import MICROSECOND


def newest_rows(table: Table, limit: int, *, columns: Iterable[str] | None = None) -> pl.DataFrame:
    """The last `limit` history rows in append order, corrections and tombstones included.

    `columns` picks and orders. Raises `InvalidInput` (`table.unknown_column`).
    """
    taken, enough = [], 0
    for file in reversed(table.plan()):
        if enough >= limit:
            break
        taken.append(file.known)
        enough += file.rows
    starts = [known[0] for known in taken if known is not None]
    after = min(starts) - MICROSECOND if starts and len(starts) == len(taken) else None
    return table.read(known_after=after, columns=columns).tail(limit)


def row_count(table: Table) -> int:
    """How many history rows the table holds, going by its log."""
    return sum(file.rows for file in table.plan())
