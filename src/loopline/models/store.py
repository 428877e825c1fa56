"""The registry's tables and their SQL."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction, insert_once

registered_model = sa.Table(
    "registered_model",
    metadata,
    sa.Column("project", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("created_at", UtcTime, nullable=False),
)

model_version = sa.Table(
    "model_version",
    metadata,
    sa.Column("project", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("package", sa.String, nullable=False),
    sa.Column("envelope", sa.String, nullable=False),
    sa.Column("run_id", sa.String),
    sa.Column("lineage", Json, nullable=False),
    sa.Column("metrics", Json, nullable=False),
    sa.Column("cause", sa.String, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("created_by", sa.String, nullable=False),
    sa.UniqueConstraint("project", "model", "cause"),
    sa.ForeignKeyConstraint(["project", "model"], ["registered_model.project", "registered_model.model"]),
)

decision_version = sa.Table(
    "decision_version",
    metadata,
    sa.Column("project", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", Json, nullable=False),
    sa.Column("evidence", Json, nullable=False),
    sa.Column("cause", sa.String, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("created_by", sa.String, nullable=False),
    sa.UniqueConstraint("project", "model", "cause"),
    sa.ForeignKeyConstraint(["project", "model"], ["registered_model.project", "registered_model.model"]),
)

# Every change of every alias, so that "what was champion at T" is a query. `target` says what is versioned: the model or
# its decision. The newest change holds; a version of null takes the alias away.
model_alias = sa.Table(
    "model_alias",
    metadata,
    sa.Column("project", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("target", sa.String, primary_key=True),
    sa.Column("alias", sa.String, primary_key=True),
    sa.Column("change", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer),
    sa.Column("from_at", UtcTime, nullable=False),
    sa.CheckConstraint("target IN ('model', 'decision')", name="target"),
    sa.ForeignKeyConstraint(["project", "model"], ["registered_model.project", "registered_model.model"]),
)


def lock(tx: Transaction, project: str, model: str) -> None:
    """Hold the model until the transaction ends, so that numbers are given out one by one. SQLite's writers queue anyway."""
    named = (registered_model.c.project == project, registered_model.c.model == model)
    tx.execute(sa.select(registered_model.c.model).where(*named).with_for_update())


def ensure_model(tx: Transaction, project: str, model: str, at: datetime) -> None:
    """Register the model unless it is, and hold it."""
    insert_once(tx, registered_model, {"project": project, "model": model, "created_at": at})
    lock(tx, project, model)


def models(tx: Transaction, project: str) -> list[str]:
    """The names of a project's models, sorted."""
    query = sa.select(registered_model.c.model).where(registered_model.c.project == project)
    return sorted(tx.scalars(query))


def projects(tx: Transaction) -> list[str]:
    """The projects that have models, sorted."""
    return sorted(tx.scalars(sa.select(registered_model.c.project).distinct()))


def by_cause(tx: Transaction, table: sa.Table, project: str, model: str, cause: str) -> sa.RowMapping | None:
    """The version in `table` that was registered for `cause`."""
    return tx.execute(_of(table, project, model).where(table.c.cause == cause)).mappings().one_or_none()


def by_version(tx: Transaction, table: sa.Table, project: str, model: str, version: int) -> sa.RowMapping | None:
    """One version in `table`."""
    return tx.execute(_of(table, project, model).where(table.c.version == version)).mappings().one_or_none()


def versions(tx: Transaction, table: sa.Table, project: str, model: str) -> list[sa.RowMapping]:
    """All versions in `table`, from the first."""
    return list(tx.execute(_of(table, project, model).order_by(table.c.version)).mappings())


def insert_next(tx: Transaction, table: sa.Table, values: dict[str, Any]) -> int:
    """Insert `values` under the next version number; the model must be held."""
    named = (table.c.project == values["project"], table.c.model == values["model"])
    newest = tx.scalar(sa.select(sa.func.max(table.c.version)).where(*named))
    version = (newest or 0) + 1
    tx.execute(table.insert().values({**values, "version": version}))
    return version


def alias_changes(
    tx: Transaction,
    project: str,
    model: str,
    target: str,
    alias: str,
    *,
    at: datetime | None = None,
    newest: bool = False,
) -> list[sa.RowMapping]:
    """The changes of an alias in order, or the newest alone; with `at` only those from then or before."""
    named = (model_alias.c.target == target, model_alias.c.alias == alias)
    query = _of(model_alias, project, model).where(*named)
    if at is not None:
        query = query.where(model_alias.c.from_at <= at)
    ordered = query.order_by(model_alias.c.change.desc()).limit(1) if newest else query.order_by(model_alias.c.change)
    return list(tx.execute(ordered).mappings())


def insert_alias_change(tx: Transaction, values: dict[str, Any]) -> None:
    """Add one change of an alias."""
    tx.execute(model_alias.insert().values(values))


def _of(table: sa.Table, project: str, model: str) -> sa.Select[Any]:
    return sa.select(table).where(table.c.project == project, table.c.model == model)
