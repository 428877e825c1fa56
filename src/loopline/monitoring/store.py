"""The tables of monitors, measured performance, profiles and alarms. Private to this part."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction, insert_once, upsert

monitor = sa.Table(
    "monitor",
    metadata,
    sa.Column("project", sa.String(200), primary_key=True),
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("spec", Json, nullable=False),
    sa.Column("reference", Json, nullable=False),
    sa.Column("state", Json, nullable=False),
    sa.Column("watermark", UtcTime, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
)

performance = sa.Table(
    "performance",
    metadata,
    sa.Column("project", sa.String(200), primary_key=True),
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("monitor", sa.String(200), primary_key=True),
    sa.Column("block_start", UtcTime, primary_key=True),
    sa.Column("restated", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("block_end", UtcTime, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("predictions", sa.BigInteger, nullable=False),
    sa.Column("labelled", sa.BigInteger, nullable=False),
    sa.Column("coverage", sa.Double, nullable=False),
    sa.Column("base_rate", sa.Double),
    sa.Column("mean_score", sa.Double),
    sa.Column("loss", sa.Double),
    sa.Column("log_loss", sa.Double),
    sa.Column("brier", sa.Double),
    sa.Column("baseline_loss", sa.Double),
    sa.Column("excess", sa.Double),
    sa.Column("cost", sa.Double),
    sa.Column("abstained", sa.BigInteger, nullable=False),
    sa.Column("censored", sa.BigInteger, nullable=False),
    sa.Column("effective_rows", sa.Double),
    sa.Column("log_evidence", sa.Double, nullable=False),
    sa.Column("measured_at", UtcTime, nullable=False),
)

profile_block = sa.Table(
    "profile_block",
    metadata,
    sa.Column("project", sa.String(200), primary_key=True),
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("block_start", UtcTime, primary_key=True),
    sa.Column("block_end", UtcTime, nullable=False),
    sa.Column("counts", Json, nullable=False),
)

alarm = sa.Table(
    "alarm",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("monitor", sa.String(200), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("block_start", UtcTime, nullable=False),
    sa.Column("block_end", UtcTime, nullable=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("evidence", Json, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("page", sa.Boolean, nullable=False),
    sa.Index(None, "project", "state", "at"),
)

Row = dict[str, Any]


def _of_monitor(project: str, model: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(monitor.c.project == project, monitor.c.model == model, monitor.c.name == name)


def add_monitor(tx: Transaction, row: Row) -> bool:
    """Insert the monitor unless it exists; says whether it did."""
    return insert_once(tx, monitor, row)


def read_monitor(tx: Transaction, project: str, model: str, name: str, *, lock: bool = False) -> Row | None:
    """The monitor's row; `lock` keeps other writers off it until the transaction ends."""
    query = sa.select(monitor).where(_of_monitor(project, model, name))
    found = tx.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return dict(found) if found else None


def read_monitors(tx: Transaction, project: str) -> list[Row]:
    """All monitors of the project, by model and name."""
    query = sa.select(monitor).where(monitor.c.project == project).order_by(monitor.c.model, monitor.c.name)
    return [dict(row) for row in tx.execute(query).mappings()]


def read_projects(tx: Transaction) -> list[str]:
    """The projects that have a monitor."""
    return list(tx.execute(sa.select(monitor.c.project).distinct().order_by(monitor.c.project)).scalars())


def write_monitor(tx: Transaction, project: str, model: str, name: str, changes: Row) -> None:
    """Set columns of one monitor."""
    tx.execute(sa.update(monitor).where(_of_monitor(project, model, name)).values(changes))


def add_performance(tx: Transaction, rows: Sequence[Row]) -> None:
    """Insert rows of measured blocks."""
    if rows:
        tx.execute(sa.insert(performance), list(rows))


def read_performance(
    tx: Transaction, project: str, model: str, name: str, *, start: datetime | None, end: datetime | None
) -> list[Row]:
    """Measured blocks that end in (start, end], in the order of time; None is without bound."""
    query = sa.select(performance).where(
        performance.c.project == project, performance.c.model == model, performance.c.monitor == name
    )
    if start:
        query = query.where(performance.c.block_end > start)
    if end:
        query = query.where(performance.c.block_end <= end)
    return [
        dict(row) for row in tx.execute(query.order_by(performance.c.block_start, performance.c.restated)).mappings()
    ]


def write_profile(tx: Transaction, row: Row) -> None:
    """Insert the profile of a block, or replace it."""
    upsert(tx, profile_block, row, key=["project", "model", "block_start"])


def read_profiles(tx: Transaction, project: str, model: str, start: datetime, end: datetime) -> list[Row]:
    """Profiles of blocks that end in (start, end], in the order of time."""
    query = sa.select(profile_block).where(
        profile_block.c.project == project,
        profile_block.c.model == model,
        profile_block.c.block_end > start,
        profile_block.c.block_end <= end,
    )
    return [dict(row) for row in tx.execute(query.order_by(profile_block.c.block_start)).mappings()]


def add_alarm(tx: Transaction, row: Row) -> bool:
    """Insert the alarm unless it exists; says whether it did."""
    return insert_once(tx, alarm, row)


def read_alarms(tx: Transaction, project: str, state: str | None) -> list[Row]:
    """Alarms of the project, oldest first; `state` picks those of one state."""
    query = sa.select(alarm).where(alarm.c.project == project)
    if state:
        query = query.where(alarm.c.state == state)
    return [dict(row) for row in tx.execute(query.order_by(alarm.c.at, alarm.c.block_end, alarm.c.id)).mappings()]


def read_alarm(tx: Transaction, alarm_id: str) -> Row | None:
    """One alarm."""
    found = tx.execute(sa.select(alarm).where(alarm.c.id == alarm_id)).mappings().one_or_none()
    return dict(found) if found else None


def close_alarm(tx: Transaction, alarm_id: str) -> bool:
    """Mark an open alarm as taken; says whether it was open."""
    open_one = sa.and_(alarm.c.id == alarm_id, alarm.c.state == "open")
    return tx.execute(sa.update(alarm).where(open_one).values(state="taken")).rowcount == 1
