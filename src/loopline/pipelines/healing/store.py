"""SQL of failures, of remedies that were tried, and of windows that are to be executed again later."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction, insert_once

failure = sa.Table(
    "failure",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False),
    sa.Column("pipeline", sa.String(200), nullable=False),
    sa.Column("step", sa.String(300), nullable=False),
    sa.Column("execution", sa.String(80), nullable=False, index=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("class", sa.String(20), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("name", sa.String(300), nullable=False),
    sa.Column("told", sa.Text, nullable=False),
    sa.Column("shape", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(20), nullable=False),
    sa.Column("code", sa.String(100), nullable=False),
    sa.Column("source", sa.String(300), nullable=False),
    sa.Index("ix_failure_project_at", "project", "at"),
)

remedy = sa.Table(
    "remedy",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False),
    sa.Column("pipeline", sa.String(200), nullable=False),
    sa.Column("step", sa.String(300), nullable=False),
    sa.Column("execution", sa.String(80), nullable=False, index=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("failure", sa.String(40), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("rule", sa.Integer, nullable=False),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("sentence", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("detail", Json, nullable=False),
    sa.Index("ix_remedy_project_at", "project", "at"),
)

postponed = sa.Table(
    "postponed",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False),
    sa.Column("pipeline", sa.String(200), nullable=False),
    sa.Column("params", Json, nullable=False),
    sa.Column("window_start", UtcTime, nullable=False),
    sa.Column("window_end", UtcTime, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("due_at", UtcTime, nullable=False),
    sa.Column("execution", sa.String(80)),
    sa.Column("started_at", UtcTime, index=True),
    sa.Column("why", sa.Text, nullable=False),
)

Row = dict[str, Any]


def add_failure(tx: Transaction, values: Row) -> bool:
    return insert_once(tx, failure, values)


def add_remedy(tx: Transaction, values: Row) -> bool:
    return insert_once(tx, remedy, values)


def change_remedy(tx: Transaction, remedy_id: str, values: Row) -> None:
    tx.execute(sa.update(remedy).where(remedy.c.id == remedy_id).values(values))


def remedies_of(tx: Transaction, execution: str, step: str) -> list[Row]:
    """Those tried for a step of an execution, oldest first."""
    query = sa.select(remedy).where(remedy.c.execution == execution, remedy.c.step == step)
    return [dict(row) for row in tx.execute(query.order_by(remedy.c.attempt, remedy.c.at)).mappings()]


def failures(tx: Transaction, project: str | None, start: datetime, end: datetime, limit: int) -> list[Row]:
    """The newest of those in (start, end], oldest first."""
    return _between(tx, failure, project, start, end, limit)


def remedies(tx: Transaction, project: str | None, start: datetime, end: datetime, limit: int) -> list[Row]:
    return _between(tx, remedy, project, start, end, limit)


def _between(
    tx: Transaction, table: sa.Table, project: str | None, start: datetime, end: datetime, limit: int
) -> list[Row]:
    query = sa.select(table).where(table.c.at > start, table.c.at <= end)
    if project is not None:
        query = query.where(table.c.project == project)
    newest = query.order_by(table.c.at.desc(), table.c.id).limit(limit)
    # SQLAlchemy names the column "class" by a text type of its own, which msgspec does not take for text.
    return [{str(name): value for name, value in row.items()} for row in reversed(list(tx.execute(newest).mappings()))]


def add_postponed(tx: Transaction, values: Row) -> bool:
    return insert_once(tx, postponed, values)


def postponements(tx: Transaction, project: str, due: datetime | None, limit: int) -> list[Row]:
    """Those not started, by when they are due; with `due` those due by then."""
    query = sa.select(postponed).where(postponed.c.project == project, postponed.c.started_at.is_(None))
    if due is not None:
        query = query.where(postponed.c.due_at <= due)
    return [dict(row) for row in tx.execute(query.order_by(postponed.c.due_at, postponed.c.id).limit(limit)).mappings()]


def how_often_postponed(
    tx: Transaction, project: str, pipeline: str, start: datetime, end: datetime, params: Any
) -> int:
    """How often this window, with these params, was put off."""
    columns = postponed.c
    query = sa.select(sa.func.count()).where(
        columns.project == project, columns.pipeline == pipeline, columns.window_start == start,
        columns.window_end == end, columns.params == sa.bindparam("params", params, columns.params.type),
    )  # fmt: skip
    return int(tx.execute(query).scalar_one())


def projects_postponed(tx: Transaction) -> list[str]:
    """The projects that have postponements which nobody has started."""
    query = sa.select(postponed.c.project).where(postponed.c.started_at.is_(None)).distinct()
    return sorted(tx.scalars(query))


def take_postponed(tx: Transaction, postponed_id: str, at: datetime) -> bool:
    taken = sa.update(postponed).where(postponed.c.id == postponed_id, postponed.c.started_at.is_(None))
    return tx.execute(taken.values(started_at=at)).rowcount == 1


def change_postponed(tx: Transaction, postponed_id: str, values: Row) -> None:
    tx.execute(sa.update(postponed).where(postponed.c.id == postponed_id).values(values))
