"""SQL of approvals and of what is deployed beside champions."""

from typing import Any

import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction, insert_once

approval = sa.Table(
    "approval",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False, index=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("environment", sa.String(100), nullable=False),
    sa.Column("digest", sa.String(80), nullable=False),
    sa.Column("role", sa.String(40), nullable=False),
    sa.Column("authors", Json, nullable=False),
    sa.Column("asked_by", sa.String(200), nullable=False),
    sa.Column("asked_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("decided_by", sa.String(200)),
    sa.Column("decided_at", UtcTime),
    sa.Column("token", sa.String(200)),
    sa.Column("reason", sa.Text),
    sa.Column("counts_until", UtcTime),
    sa.Column("ended_at", UtcTime),
)

variant = sa.Table(
    "variant",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False, index=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("environment", sa.String(100), nullable=False),
    sa.Column("name", sa.String(40), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("against", sa.Integer, nullable=False),
    sa.Column("share", sa.Double, nullable=False),
    sa.Column("spans", Json, nullable=False),
    sa.Column("salt", sa.String(80), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("started_by", sa.String(200), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("share_at", UtcTime, nullable=False),
    sa.Column("approval", sa.String(40)),
    sa.Column("terms", Json),
    sa.Column("progress", Json),
    sa.Column("ended_at", UtcTime),
    sa.Column("ended_by", sa.String(200)),
    sa.Column("outcome", sa.Text),
)

Row = dict[str, Any]


def insert(tx: Transaction, values: Row) -> None:
    tx.execute(sa.insert(approval).values(values))


def update(tx: Transaction, approval_id: str, values: Row) -> None:
    tx.execute(sa.update(approval).where(approval.c.id == approval_id).values(values))


def one(tx: Transaction, project: str, approval_id: str) -> Row | None:
    query = sa.select(approval).where(approval.c.project == project, approval.c.id == approval_id)
    row = tx.execute(query).mappings().first()
    return dict(row) if row else None


def select(tx: Transaction, project: str, *, model: str | None, states: tuple[str, ...]) -> list[Row]:
    query = sa.select(approval).where(approval.c.project == project).order_by(approval.c.asked_at, approval.c.id)
    if model is not None:
        query = query.where(approval.c.model == model)
    if states:
        query = query.where(approval.c.state.in_(states))
    return [dict(row) for row in tx.execute(query).mappings()]


def insert_variant(tx: Transaction, values: Row) -> bool:
    return insert_once(tx, variant, values)


def update_variant(tx: Transaction, variant_id: str, values: Row) -> None:
    tx.execute(sa.update(variant).where(variant.c.id == variant_id).values(values))


def one_variant(tx: Transaction, variant_id: str) -> Row | None:
    row = tx.execute(sa.select(variant).where(variant.c.id == variant_id)).mappings().first()
    return dict(row) if row else None


def select_variants(
    tx: Transaction, project: str, *, model: str | None, environment: str | None, states: tuple[str, ...]
) -> list[Row]:
    query = sa.select(variant).where(variant.c.project == project).order_by(variant.c.started_at, variant.c.id)
    if model is not None:
        query = query.where(variant.c.model == model)
    if environment is not None:
        query = query.where(variant.c.environment == environment)
    if states:
        query = query.where(variant.c.state.in_(states))
    return [dict(row) for row in tx.execute(query).mappings()]
