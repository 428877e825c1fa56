"""SQL of applied declarations, turns, replays and heartbeats."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction, insert_once, upsert

applied_loop = sa.Table(
    "applied_loop",
    metadata,
    sa.Column("loop", sa.String(200), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String(80), nullable=False),
    sa.Column("declaration", Json, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
)

ingested = sa.Table(
    "ingested",
    metadata,
    sa.Column("source", sa.String(200), primary_key=True),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("until", UtcTime, nullable=False),
)

source_asked = sa.Table(
    "source_asked",
    metadata,
    sa.Column("source", sa.String(200), primary_key=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("until", UtcTime, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("quarantined", sa.Integer, nullable=False),
    sa.Column("code", sa.String(80)),
    sa.Column("error", sa.Text),
    sa.Column("failures", sa.Integer, nullable=False),
)

turn = sa.Table(
    "turn",
    metadata,
    sa.Column("project", sa.String(200), primary_key=True),
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("window_start", UtcTime, nullable=False),
    sa.Column("window_end", UtcTime, nullable=False),
    sa.Column("summary", Json, nullable=False),
    sa.Column("measured", Json, nullable=False),
)

replay = sa.Table(
    "replay",
    metadata,
    sa.Column("loop", sa.String(200), primary_key=True),
    sa.Column("plan", Json, nullable=False),
    sa.Column("result", Json),
)

heartbeat = sa.Table(
    "heartbeat",
    metadata,
    sa.Column("loop", sa.String(200), primary_key=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("well", sa.Boolean, nullable=False),
    sa.Column("well_at", UtcTime),
    sa.Column("sentence", sa.Text, nullable=False),
)

reference = sa.Table(
    "reference",
    metadata,
    sa.Column("project", sa.String(200), primary_key=True),
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("until", UtcTime, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("profile", sa.String(80)),
)

Row = dict[str, Any]


def latest_applied(tx: Transaction, loop: str) -> Row | None:
    query = sa.select(applied_loop).where(applied_loop.c.loop == loop).order_by(applied_loop.c.sequence.desc()).limit(1)
    row = tx.execute(query).mappings().first()
    return dict(row) if row else None


def all_applied(tx: Transaction, loop: str) -> list[Row]:
    query = sa.select(applied_loop).where(applied_loop.c.loop == loop).order_by(applied_loop.c.sequence.desc())
    return [dict(row) for row in tx.execute(query).mappings()]


def add_applied(tx: Transaction, values: Row) -> None:
    tx.execute(sa.insert(applied_loop).values(values))


def applied_loops(tx: Transaction) -> list[str]:
    return list(tx.execute(sa.select(applied_loop.c.loop).distinct().order_by(applied_loop.c.loop)).scalars())


def ingested_until(tx: Transaction, source: str) -> datetime | None:
    found: datetime | None = tx.execute(sa.select(ingested.c.until).where(ingested.c.source == source)).scalar()
    return found


def ingested_since(tx: Transaction, source: str) -> datetime | None:
    found: datetime | None = tx.execute(sa.select(ingested.c.since).where(ingested.c.source == source)).scalar()
    return found


def set_ingested(tx: Transaction, source: str, *, since: datetime, until: datetime) -> None:
    values = {"source": source, "since": ingested_since(tx, source) or since, "until": until}
    upsert(tx, ingested, values, key=["source"])


def last_asked(tx: Transaction, source: str) -> Row | None:
    row = tx.execute(sa.select(source_asked).where(source_asked.c.source == source)).mappings().first()
    return dict(row) if row else None


def put_asked(tx: Transaction, values: Row) -> None:
    upsert(tx, source_asked, values, key=["source"])


def last_turn(tx: Transaction, project: str, model: str) -> Row | None:
    query = sa.select(turn).where(_of(project, model)).order_by(turn.c.number.desc()).limit(1)
    row = tx.execute(query).mappings().first()
    return dict(row) if row else None


def one_turn(tx: Transaction, project: str, model: str, number: int) -> Row | None:
    row = tx.execute(sa.select(turn).where(_of(project, model), turn.c.number == number)).mappings().first()
    return dict(row) if row else None


def turns(tx: Transaction, project: str, model: str) -> list[Row]:
    query = sa.select(turn).where(_of(project, model)).order_by(turn.c.number)
    return [dict(row) for row in tx.execute(query).mappings()]


def add_turn(tx: Transaction, values: Row) -> bool:
    return insert_once(tx, turn, values)


def _of(project: str, model: str) -> sa.ColumnElement[bool]:
    return sa.and_(turn.c.project == project, turn.c.model == model)


def one_replay(tx: Transaction, loop: str) -> Row | None:
    row = tx.execute(sa.select(replay).where(replay.c.loop == loop)).mappings().first()
    return dict(row) if row else None


def put_replay(tx: Transaction, loop: str, plan: Row, result: Row | None) -> None:
    upsert(tx, replay, {"loop": loop, "plan": plan, "result": result}, key=["loop"])


def put_heartbeat(tx: Transaction, values: Row) -> None:
    upsert(tx, heartbeat, values, key=["loop"])


def heartbeats(tx: Transaction) -> list[Row]:
    return [dict(row) for row in tx.execute(sa.select(heartbeat).order_by(heartbeat.c.loop)).mappings()]


erasure = sa.Table(
    "erasure",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("code", sa.String(64), nullable=False, index=True),
    sa.Column("pseudonym", sa.String(40), nullable=False),
    sa.Column("began_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("notes", sa.Text),
    sa.Column("receipt", sa.String(80)),
    sa.Column("complete", sa.Boolean, nullable=False),
)


def put_erasure(tx: Transaction, values: Row) -> None:
    upsert(tx, erasure, values, key=["id"])


def erasures(tx: Transaction, code: str | None = None) -> list[Row]:
    query = sa.select(erasure).order_by(erasure.c.began_at, erasure.c.id)
    query = query if code is None else query.where(erasure.c.code == code)
    return [dict(row) for row in tx.execute(query).mappings()]


def one_erasure(tx: Transaction, erasure_id: str) -> Row | None:
    row = tx.execute(sa.select(erasure).where(erasure.c.id == erasure_id)).mappings().first()
    return dict(row) if row else None


def one_reference(tx: Transaction, project: str, model: str) -> Row | None:
    query = sa.select(reference).where(reference.c.project == project, reference.c.model == model)
    row = tx.execute(query).mappings().first()
    return dict(row) if row else None


def add_reference(tx: Transaction, values: Row) -> bool:
    return insert_once(tx, reference, values)
