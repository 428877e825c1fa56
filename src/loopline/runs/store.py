"""The tables of tracking and their SQL."""

import math
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction, upsert_many


class Measured(TypeDecorator[float]):
    """A float that may be NaN or infinite. NaN is stored as null: SQLite has no other way, and so it sorts alike."""

    impl = sa.Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: sa.Dialect) -> float | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None or math.isnan(value) else float(value)

    def process_result_value(self, value: float | None, dialect: sa.Dialect) -> float:  # noqa: ARG002 - SQLAlchemy's signature
        return math.nan if value is None else float(value)


run = sa.Table(
    "run",
    metadata,
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("experiment", sa.String, nullable=False),
    sa.Column("parent", sa.String),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Index(None, "project", "experiment", "started_at"),
    sa.Index(None, "parent"),
)

run_param = sa.Table(
    "run_param",
    metadata,
    sa.Column("run_id", sa.ForeignKey("run.run_id"), primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", Json),
)

run_metric = sa.Table(
    "run_metric",
    metadata,
    sa.Column("run_id", sa.ForeignKey("run.run_id"), primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", Measured),
    sa.Column("at", UtcTime),
)

run_fact = sa.Table(
    "run_fact",
    metadata,
    sa.Column("run_id", sa.ForeignKey("run.run_id"), primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", Json),
)

run_input = sa.Table(
    "run_input",
    metadata,
    sa.Column("run_id", sa.ForeignKey("run.run_id"), primary_key=True),
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("version", sa.String, primary_key=True),
)

run_artifact = sa.Table(
    "run_artifact",
    metadata,
    sa.Column("run_id", sa.ForeignKey("run.run_id"), primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("digest", sa.String, nullable=False),
)


def every_artifact(tx: Transaction) -> list[tuple[str, str, str]]:
    """Run, name and digest of each artifact."""
    columns = run_artifact.c
    rows = tx.execute(sa.select(columns.run_id, columns.name, columns.digest))
    return [(row.run_id, row.name, row.digest) for row in rows]


def by_id(tx: Transaction, run_id: str, *, hold: bool = False) -> sa.RowMapping | None:
    """One run's own row, held until the transaction ends if asked (SQLite's writers queue anyway)."""
    query = sa.select(run).where(run.c.run_id == run_id)
    return tx.execute(query.with_for_update() if hold else query).mappings().one_or_none()


def set_status(tx: Transaction, run_id: str, values: dict[str, Any]) -> None:
    """Change columns of a run's own row."""
    tx.execute(run.update().where(run.c.run_id == run_id).values(values))


def param(tx: Transaction, run_id: str, name: str) -> sa.RowMapping | None:
    """One logged parameter."""
    query = sa.select(run_param).where(run_param.c.run_id == run_id, run_param.c.name == name)
    return tx.execute(query).mappings().one_or_none()


def select(
    tx: Transaction,
    project: str | None,
    *,
    experiment: str | None,
    parent: str | None,
    order: sa.ColumnElement[Any],
    limit: int,
) -> list[sa.RowMapping]:
    """The runs' own rows in `order`, ties by id."""
    query = sa.select(run)
    if project is not None:
        query = query.where(run.c.project == project)
    if experiment is not None:
        query = query.where(run.c.experiment == experiment)
    if parent is not None:
        query = query.where(run.c.parent == parent)
    return list(tx.execute(query.order_by(order.nulls_last(), run.c.run_id).limit(limit)).mappings())


def starting_with(tx: Transaction, text: str, limit: int) -> list[str]:
    """Ids that begin with the text."""
    query = sa.select(run.c.run_id).where(run.c.run_id.startswith(text, autoescape=True))
    return list(tx.execute(query.order_by(run.c.run_id).limit(limit)).scalars())


def last_metrics(tx: Transaction, run_ids: Sequence[str]) -> list[sa.RowMapping]:
    """The row of each metric's greatest step, by run and name."""
    mine = sa.select(run_metric.c.run_id, run_metric.c.name, sa.func.max(run_metric.c.step).label("step"))
    last = mine.where(run_metric.c.run_id.in_(run_ids)).group_by(run_metric.c.run_id, run_metric.c.name).subquery()
    same = [run_metric.c[name] == last.c[name] for name in ("run_id", "name", "step")]
    rows = tx.execute(sa.select(run_metric).join(last, sa.and_(*same))).mappings()
    return sorted(rows, key=lambda row: (row["run_id"], row["name"]))


def put_metrics(tx: Transaction, rows: list[dict[str, Any]]) -> None:
    """Set many values of metrics; one that was measured before what is there already is left out."""
    upsert_many(tx, run_metric, rows, key=["run_id", "name", "step"], unless_newer="at")


def last_value(name: str) -> sa.ColumnElement[Any]:
    """The value of a metric at its greatest step, as a column beside `run`."""
    mine = sa.select(run_metric.c.value).where(run_metric.c.run_id == run.c.run_id, run_metric.c.name == name)
    return mine.order_by(run_metric.c.step.desc()).limit(1).scalar_subquery()


def logged(tx: Transaction, table: sa.Table, run_ids: Sequence[str]) -> list[sa.RowMapping]:
    """What was logged into `table` about the runs, in the order of its key (sorted here: databases collate differently)."""
    rows = tx.execute(sa.select(table).where(table.c.run_id.in_(run_ids))).mappings()
    return sorted(rows, key=lambda row: tuple(row[column.name] for column in table.primary_key.columns))


search = sa.Table(
    "search",
    metadata,
    sa.Column("search_id", sa.ForeignKey("run.run_id"), primary_key=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("definition", sa.String, nullable=False),
    sa.Column("rows", sa.String, nullable=False),
    sa.Column("as_of", UtcTime, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("result", Json),
    sa.Index(None, "project", "model", "as_of"),
)

trial = sa.Table(
    "trial",
    metadata,
    sa.Column("search_id", sa.ForeignKey("search.search_id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("run_id", sa.ForeignKey("run.run_id"), nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("params", Json, nullable=False),
    sa.Column("scores", Json, nullable=False),
    sa.Column("reason", sa.String),
    sa.Column("measured", Json, nullable=False),
)


def one_search(tx: Transaction, search_id: str) -> sa.RowMapping | None:
    """One search's own row."""
    return tx.execute(sa.select(search).where(search.c.search_id == search_id)).mappings().one_or_none()


def searches(tx: Transaction, project: str, model: str) -> list[sa.RowMapping]:
    """The searches of a model, the newest data first, ties by when they began."""
    query = sa.select(search).where(search.c.project == project, search.c.model == model)
    newest = search.c.as_of.desc(), search.c.started_at.desc(), search.c.search_id
    return list(tx.execute(query.order_by(*newest)).mappings())


def set_result(tx: Transaction, search_id: str, result: dict[str, Any]) -> None:
    """Say what a search came to."""
    tx.execute(search.update().where(search.c.search_id == search_id).values(result=result))


def trials(tx: Transaction, search_id: str) -> list[sa.RowMapping]:
    """The trials of a search in the order they were made."""
    query = sa.select(trial).where(trial.c.search_id == search_id).order_by(trial.c.number)
    return list(tx.execute(query).mappings())
