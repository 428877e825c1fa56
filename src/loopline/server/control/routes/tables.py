"""Tables: what there is, where each version came from, and the newest rows."""

from typing import Any

import msgspec
from litestar import get
from litestar.params import FromPath, FromQuery

from loopline.access.identity import require
from loopline.access.permissions import Permission
from loopline.loop.personal_reads import rows_for
from loopline.scoring.record import PREDICTIONS, SHADOWS
from loopline.server.control.inputs import Caller, Home, Limit, MachineClock, Reason
from loopline.tables.log import TableVersion
from loopline.tables.newest import newest_rows, row_count


class TableSummary(msgspec.Struct, frozen=True):
    """A table, its newest version and how many history rows it holds."""

    name: str
    version: int
    rows: int


class TableDetail(msgspec.Struct, frozen=True):
    """A table's columns (name to dtype), which of them are personal, the column that says whose row it is or the table whose
    keys its rows have, and its newest versions, newest first.
    """

    name: str
    version: int
    rows: int
    columns: dict[str, str]
    personal: list[str]
    subject: str | None
    keys_of: str | None
    versions: list[TableVersion]


class Rows(msgspec.Struct, frozen=True):
    """History rows in append order: corrections and tombstones are rows of their own."""

    table: str
    columns: dict[str, str]
    rows: list[dict[str, Any]]


@get("/tables", permission=Permission.TABLES_READ, sync_to_thread=True)
def list_tables(home: Home) -> list[TableSummary]:
    """All tables, by name."""
    opened = [home.tables.open(name) for name in home.tables.names()]
    return [TableSummary(table.name, table.version, row_count(table)) for table in opened]


@get("/tables/{name:str}", permission=Permission.TABLES_READ, sync_to_thread=True)
def read_table(home: Home, name: FromPath[str], limit: Limit = 100) -> TableDetail:
    """One table with the provenance of its newest `limit` versions."""
    table = home.tables.open(name)
    schema = table.schema
    return TableDetail(
        name=name,
        version=table.version,
        rows=row_count(table),
        columns={column: str(dtype) for column, dtype in schema.all_columns.items()},
        personal=list(schema.personal),
        subject=schema.subject,
        keys_of=schema.keys_of,
        versions=table.versions()[-limit:][::-1],
    )


@get("/tables/{name:str}/rows", permission=Permission.TABLES_READ, sync_to_thread=True)
def read_rows(
    home: Home,
    caller: Caller,
    machine_clock: MachineClock,
    name: FromPath[str],
    limit: Limit = 20,
    columns: FromQuery[list[str] | None] = None,
    clear: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
    reason: FromQuery[Reason] = "asked over HTTP",
) -> Rows:
    """The newest rows. Those of predictions take the permission to read predictions, too.

    Persons are called by pseudonyms. With `clear` their values are shown to who has the permission `personal:show`, and the ledger
    of access says so.
    """
    if name.startswith((PREDICTIONS, SHADOWS)):
        require(caller, Permission.PREDICTIONS_READ)
    table = home.tables.open(name)
    frame = newest_rows(table, limit, columns=columns)
    frame = rows_for(home, caller, name, frame, clear=clear, reason=reason, at=machine_clock.now())
    dtypes = {column: str(dtype) for column, dtype in frame.schema.items()}
    return Rows(name, dtypes, frame.rows(named=True))


HANDLERS = (list_tables, read_table, read_rows)
