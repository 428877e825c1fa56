"""SQL of the pipeline files that were put in force."""

from typing import Any

import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction

applied_pipelines = sa.Table(
    "applied_pipelines",
    metadata,
    sa.Column("project", sa.String(200), primary_key=True),
    sa.Column("file", sa.String(200), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(80), nullable=False),
    sa.Column("code", sa.String(80), nullable=False),
    sa.Column("declaration", Json, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
)

Row = dict[str, Any]


def add(tx: Transaction, values: Row) -> None:
    tx.execute(sa.insert(applied_pipelines).values(values))


def latest(tx: Transaction, project: str | None = None, file: str | None = None) -> list[Row]:
    """What was applied last of each file, by project and file."""
    table, newer = applied_pipelines, applied_pipelines.alias()
    later = sa.exists().where(
        newer.c.project == table.c.project, newer.c.file == table.c.file, newer.c.sequence > table.c.sequence
    )
    query = sa.select(table).where(~later).order_by(table.c.project, table.c.file)
    if project is not None:
        query = query.where(table.c.project == project)
    if file is not None:
        query = query.where(table.c.file == file)
    return [dict(row) for row in tx.execute(query).mappings()]
