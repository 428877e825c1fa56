"""SQL of incidents, actions done, and freezes."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction, insert_once, upsert

incident = sa.Table(
    "incident",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False, index=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("opened_at", UtcTime, nullable=False),
    sa.Column("closed_at", UtcTime),
    sa.Column("sentence", sa.Text, nullable=False),
    sa.Column("diagnosis", Json, nullable=False),
    sa.Column("alarms", Json, nullable=False),
    sa.Column("told", sa.Boolean, nullable=False),
)

action_done = sa.Table(
    "action_done",
    metadata,
    sa.Column("project", sa.String(200), primary_key=True),
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("action", sa.String(40), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("incident", sa.String(40)),
    sa.Column("changed", sa.Boolean, nullable=False),
    sa.Column("sentence", sa.Text, nullable=False),
    sa.Column("evidence", Json, nullable=False),
)

freeze = sa.Table(
    "freeze",
    metadata,
    sa.Column("project", sa.String(200), primary_key=True),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

Row = dict[str, Any]


def put_incident(tx: Transaction, values: Row) -> None:
    upsert(tx, incident, values, key=["id"])


def incidents(tx: Transaction, project: str, *, model: str | None, states: tuple[str, ...]) -> list[Row]:
    query = sa.select(incident).where(incident.c.project == project).order_by(incident.c.opened_at, incident.c.id)
    if model is not None:
        query = query.where(incident.c.model == model)
    if states:
        query = query.where(incident.c.state.in_(states))
    return [dict(row) for row in tx.execute(query).mappings()]


def untold_incidents(tx: Transaction, project: str, model: str) -> list[Row]:
    query = sa.select(incident).where(
        incident.c.project == project, incident.c.model == model, incident.c.told.is_(sa.false())
    )
    return [dict(row) for row in tx.execute(query.order_by(incident.c.opened_at, incident.c.id)).mappings()]


def one_incident(tx: Transaction, project: str, incident_id: str) -> Row | None:
    query = sa.select(incident).where(incident.c.project == project, incident.c.id == incident_id)
    row = tx.execute(query).mappings().first()
    return dict(row) if row else None


def add_action(tx: Transaction, values: Row) -> bool:
    return insert_once(tx, action_done, values)


def last_action(tx: Transaction, project: str, model: str, action: str) -> datetime | None:
    query = sa.select(sa.func.max(action_done.c.at)).where(
        action_done.c.project == project, action_done.c.model == model, action_done.c.action == action
    )
    found: datetime | None = tx.execute(query).scalar()
    return found


def put_freeze(tx: Transaction, values: Row) -> None:
    upsert(tx, freeze, values, key=["project"])


def remove_freeze(tx: Transaction, project: str) -> bool:
    return tx.execute(sa.delete(freeze).where(freeze.c.project == project)).rowcount == 1


def one_freeze(tx: Transaction, project: str) -> Row | None:
    row = tx.execute(sa.select(freeze).where(freeze.c.project == project)).mappings().first()
    return dict(row) if row else None
