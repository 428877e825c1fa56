"""Rows for a reader: with pseudonyms for persons, or in clear for who may see that, and then it is in the ledger."""

from datetime import datetime

import polars as pl

from loopline.access.identity import Identity, require
from loopline.access.permissions import Permission
from loopline.ledger import chain
from loopline.loop.access_changes import LEDGER
from loopline.loop.resources import Resources
from loopline.tables.masked import masked_rows
from loopline.values import derive_id, micros


def rows_for(
    resources: Resources, caller: Identity, table: str, frame: pl.DataFrame, *, clear: bool, reason: str, at: datetime
) -> pl.DataFrame:
    """`frame`, rows of `table`, as `caller` may see them: pseudonyms, or with `clear` the values themselves.

    A clear read of personal columns is recorded in the ledger of access: who, when (`at`, the machine's time), which columns, how
    many rows, why. Raises `NotPermitted` "access.not_permitted".
    """
    if not clear:
        return masked_rows(resources.tables, table, frame, resources.pseudonyms)
    guarded = [name for name in resources.tables.open(table).schema.guarded if name in frame.columns]
    if guarded:
        require(caller, Permission.PERSONAL_SHOW)
        _record(resources, caller, table, guarded, frame.height, reason, at)
    return frame


def _record(
    resources: Resources, caller: Identity, table: str, columns: list[str], rows: int, reason: str, at: datetime
) -> None:
    body = {"table": table, "columns": columns, "rows": rows, "reason": reason}
    with resources.database.transaction() as tx:
        number = chain.head(tx, LEDGER).seq
        chain.append(
            tx,
            project=LEDGER,
            at=at,
            kind="personal.shown",
            actor=caller.principal,
            subject=table,
            body=body,
            key=derive_id("shown", 0, caller.principal, table, micros(at), number),
        )
