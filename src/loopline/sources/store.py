"""SQL of rows that were pushed and are not ingested yet, and of the pushes themselves."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction, upsert

push = sa.Table(
    "push",
    metadata,
    sa.Column("source", sa.String(200), primary_key=True),
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("received_at", UtcTime, nullable=False, index=True),
    sa.Column("content", sa.String(80), nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("answer", Json, nullable=False),
    sa.Column("body", Json),
)

push_closed = sa.Table(
    "push_closed",
    metadata,
    sa.Column("source", sa.String(200), primary_key=True),
    sa.Column("until", UtcTime, nullable=False),
)

Row = dict[str, Any]


def one_push(tx: Transaction, source: str, key: str) -> Row | None:
    query = sa.select(push).where(push.c.source == source, push.c.key == key)
    row = tx.execute(query).mappings().first()
    return dict(row) if row else None


def add_push(tx: Transaction, values: Row) -> None:
    tx.execute(sa.insert(push).values(values))


def last_received(tx: Transaction, source: str) -> datetime | None:
    found: datetime | None = tx.execute(
        sa.select(sa.func.max(push.c.received_at)).where(push.c.source == source)
    ).scalar()
    return found


def pushed_between(tx: Transaction, source: str, after: datetime, until: datetime) -> list[Row]:
    query = sa.select(push).where(push.c.source == source, push.c.received_at > after, push.c.received_at <= until)
    return [dict(row) for row in tx.execute(query.order_by(push.c.received_at)).mappings()]


def count_pushed(tx: Transaction, source: str, after: datetime, until: datetime) -> int:
    inside = (
        push.c.source == source,
        push.c.received_at > after,
        push.c.received_at <= until,
        push.c.body.is_not(None),
    )
    found: int = tx.execute(sa.select(sa.func.count()).select_from(push).where(*inside)).scalar_one()
    return found


def count_waiting(tx: Transaction, source: str) -> int:
    waiting = (push.c.source == source, push.c.body.is_not(None))
    found: int = tx.execute(sa.select(sa.func.count()).select_from(push).where(*waiting)).scalar_one()
    return found


def closed_until(tx: Transaction, source: str) -> datetime | None:
    found: datetime | None = tx.execute(sa.select(push_closed.c.until).where(push_closed.c.source == source)).scalar()
    return found


def close_until(tx: Transaction, source: str, until: datetime) -> None:
    upsert(tx, push_closed, {"source": source, "until": until}, key=["source"])


def forget_bodies(tx: Transaction, source: str, until: datetime) -> None:
    done = sa.update(push).where(push.c.source == source, push.c.received_at <= until, push.c.body.is_not(None))
    tx.execute(done.values(body=None))


def forget_pushes(tx: Transaction, source: str, before: datetime) -> None:
    old = sa.delete(push).where(push.c.source == source, push.c.received_at < before, push.c.body.is_(None))
    tx.execute(old)
