"""SQL of incidents, actions done, freezes, and notifications."""

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
    sa.Column("severity", sa.String(20), nullable=False),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("assignee", sa.String(200)),
    sa.Column("acknowledged_by", sa.String(200)),
    sa.Column("acknowledged_at", UtcTime),
    sa.Column("snoozed_until", UtcTime),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("escalates_at", UtcTime),
)

notification = sa.Table(
    "notification",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False, index=True),
    sa.Column("to", sa.String(200), nullable=False),
    sa.Column("severity", sa.String(20), nullable=False),
    sa.Column("message", Json, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("due_at", UtcTime, nullable=False),
    sa.Column("held", sa.Boolean, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("sent", Json, nullable=False),
    sa.Column("done_at", UtcTime, index=True),
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


def add_notification(tx: Transaction, values: Row) -> bool:
    return insert_once(tx, notification, values)


def change_notification(tx: Transaction, notification_id: str, values: Row) -> None:
    tx.execute(sa.update(notification).where(notification.c.id == notification_id).values(values))


def take_notification(tx: Transaction, notification_id: str, attempts: int, at: datetime, again_at: datetime) -> bool:
    """Count an attempt at what is due; False where another counted it already."""
    due = (
        notification.c.id == notification_id,
        notification.c.attempts == attempts,
        notification.c.done_at.is_(None),
        notification.c.due_at <= at,
    )
    taken = sa.update(notification).where(*due).values(attempts=attempts + 1, due_at=again_at)
    return tx.execute(taken.returning(notification.c.id)).first() is not None


def notifying_projects(tx: Transaction) -> list[str]:
    """The projects of those not done."""
    query = sa.select(notification.c.project).where(notification.c.done_at.is_(None)).distinct()
    return sorted(tx.scalars(query))


def notifications(tx: Transaction, project: str, *, due: datetime | None = None, limit: int | None = None) -> list[Row]:
    """Those not done, oldest first; with `due` those due by then."""
    query = sa.select(notification).where(notification.c.project == project, notification.c.done_at.is_(None))
    if due is not None:
        query = query.where(notification.c.due_at <= due)
    ordered = query.order_by(notification.c.created_at, notification.c.id).limit(limit)
    # SQLAlchemy names the column "to" by a text type of its own, which msgspec does not take for text.
    return [{str(name): value for name, value in row.items()} for row in tx.execute(ordered).mappings()]


def one_notification(tx: Transaction, notification_id: str) -> str | None:
    """Its id, where it is there, told or not."""
    found: str | None = tx.execute(sa.select(notification.c.id).where(notification.c.id == notification_id)).scalar()
    return found


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


def actions_since(tx: Transaction, project: str, model: str, action: str, since: datetime) -> int:
    query = sa.select(sa.func.count()).where(
        action_done.c.project == project,
        action_done.c.model == model,
        action_done.c.action == action,
        action_done.c.at > since,
    )
    return tx.execute(query).scalar_one()


def newest_action(tx: Transaction, project: str, model: str, actions: tuple[str, ...]) -> Row | None:
    """The newest of them that changed something."""
    query = sa.select(action_done).where(
        action_done.c.project == project,
        action_done.c.model == model,
        action_done.c.action.in_(actions),
        action_done.c.changed,
    )
    row = tx.execute(query.order_by(action_done.c.at.desc(), action_done.c.key.desc()).limit(1)).mappings().first()
    return dict(row) if row else None


def put_freeze(tx: Transaction, values: Row) -> None:
    upsert(tx, freeze, values, key=["project"])


def remove_freeze(tx: Transaction, project: str) -> bool:
    return tx.execute(sa.delete(freeze).where(freeze.c.project == project)).rowcount == 1


def one_freeze(tx: Transaction, project: str) -> Row | None:
    row = tx.execute(sa.select(freeze).where(freeze.c.project == project)).mappings().first()
    return dict(row) if row else None
