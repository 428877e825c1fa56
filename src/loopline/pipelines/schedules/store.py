"""SQL of schedules, their ticks, the signals that triggers wait for, and the secrets of webhooks."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction, insert_once, upsert

schedule = sa.Table(
    "schedule",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False, index=True),
    sa.Column("pipeline", sa.String(200), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("declared", Json, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("declared_at", UtcTime, nullable=False),
    sa.Column("passed", UtcTime, nullable=False),
    sa.Column("next_at", UtcTime, index=True),
    sa.Column("version", sa.BigInteger),
    sa.Column("changed_at", UtcTime, nullable=False),
    sa.Column("changed_by", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

tick = sa.Table(
    "tick",
    metadata,
    sa.Column("schedule", sa.String(40), primary_key=True),
    sa.Column("key", sa.String(80), primary_key=True),
    sa.Column("fire_at", UtcTime, nullable=False, index=True),
    sa.Column("window_start", UtcTime),
    sa.Column("window_end", UtcTime),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("execution", sa.String(80), index=True),
    sa.Column("decided_at", UtcTime, nullable=False),
)

signal = sa.Table(
    "signal",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False, index=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("subject", Json, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("taken_at", UtcTime, index=True),
)

hook = sa.Table(
    "hook",
    metadata,
    sa.Column("project", sa.String(200), primary_key=True),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("sealed", sa.Text, nullable=False),
    sa.Column("earlier", sa.Text),
    sa.Column("earlier_until", UtcTime),
    sa.Column("changed_at", UtcTime, nullable=False),
    sa.Column("changed_by", sa.String(200), nullable=False),
)

Row = dict[str, Any]


def put_schedule(tx: Transaction, values: Row) -> None:
    upsert(tx, schedule, values, key=["id"])


def change_schedule(tx: Transaction, schedule_id: str, values: Row) -> None:
    tx.execute(sa.update(schedule).where(schedule.c.id == schedule_id).values(values))


def one_schedule(tx: Transaction, schedule_id: str) -> Row | None:
    row = tx.execute(sa.select(schedule).where(schedule.c.id == schedule_id)).mappings().first()
    return dict(row) if row else None


def schedules(
    tx: Transaction, project: str, *, states: tuple[str, ...], kinds: tuple[str, ...] = (), due: datetime | None = None
) -> list[Row]:
    query = sa.select(schedule).where(schedule.c.project == project, schedule.c.state.in_(states))
    if kinds:
        query = query.where(schedule.c.kind.in_(kinds))
    if due is not None:
        query = query.where(schedule.c.next_at <= due)
    ordered = query.order_by(schedule.c.pipeline, schedule.c.declared_at, schedule.c.id)
    return [dict(row) for row in tx.execute(ordered).mappings()]


def projects(tx: Transaction) -> list[str]:
    return list(tx.scalars(sa.select(schedule.c.project).distinct().order_by(schedule.c.project)))


def add_tick(tx: Transaction, values: Row) -> bool:
    return insert_once(tx, tick, values)


def change_tick(tx: Transaction, schedule_id: str, key: str, values: Row) -> None:
    tx.execute(sa.update(tick).where(tick.c.schedule == schedule_id, tick.c.key == key).values(values))


def ticks(tx: Transaction, schedule_ids: list[str], *, limit: int | None) -> list[Row]:
    """The newest first."""
    query = sa.select(tick).where(tick.c.schedule.in_(schedule_ids))
    ordered = query.order_by(tick.c.fire_at.desc(), tick.c.schedule, tick.c.key.desc()).limit(limit)
    return [dict(row) for row in tx.execute(ordered).mappings()]


def add_signal(tx: Transaction, values: Row) -> bool:
    return insert_once(tx, signal, values)


def signals(tx: Transaction, project: str, *, limit: int) -> list[Row]:
    """Those nobody has taken, oldest first."""
    query = sa.select(signal).where(signal.c.project == project, signal.c.taken_at.is_(None))
    return [dict(row) for row in tx.execute(query.order_by(signal.c.at, signal.c.id).limit(limit)).mappings()]


def take_signal(tx: Transaction, signal_id: str, at: datetime) -> bool:
    found = sa.update(signal).where(signal.c.id == signal_id, signal.c.taken_at.is_(None)).values(taken_at=at)
    return tx.execute(found).rowcount == 1


def forget_signals(tx: Transaction, project: str, before: datetime) -> None:
    tx.execute(sa.delete(signal).where(signal.c.project == project, signal.c.taken_at < before))


def put_hook(tx: Transaction, values: Row) -> None:
    upsert(tx, hook, values, key=["project", "name"])


def one_hook(tx: Transaction, project: str, name: str) -> Row | None:
    row = tx.execute(sa.select(hook).where(hook.c.project == project, hook.c.name == name)).mappings().first()
    return dict(row) if row else None


def remove_hook(tx: Transaction, project: str, name: str) -> bool:
    return tx.execute(sa.delete(hook).where(hook.c.project == project, hook.c.name == name)).rowcount == 1
