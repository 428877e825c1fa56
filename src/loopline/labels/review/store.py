"""SQL of what is to be reviewed, of what reviewers said, and of how far predictions were looked through."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction, upsert

review_item = sa.Table(
    "review_item",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("prediction_id", sa.String(200), nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("keys_of", sa.String(200), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("scored_at", UtcTime, nullable=False),
    sa.Column("model_version", sa.Integer, nullable=False),
    sa.Column("reason", sa.String(20), nullable=False),
    sa.Column("propensity", sa.Double, nullable=False),
    sa.Column("priority", sa.Double, nullable=False),
    sa.Column("entered_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("claimed_by", sa.String(200)),
    sa.Column("leased_until", sa.BigInteger),
    sa.Column("skipped_by", Json, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("told", sa.Double),
    sa.Column("told_at", UtcTime),
    sa.Index("ix_review_item_queue", "project", "model", "state", "priority"),
)

review_answer = sa.Table(
    "review_answer",
    metadata,
    sa.Column("item", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("label", sa.Double, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

review_mark = sa.Table(
    "review_mark",
    metadata,
    sa.Column("project", sa.String(200), primary_key=True),
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
)

Row = dict[str, Any]
_ITEM, _ANSWER = review_item.c, review_answer.c
_AT_ONCE = 500


def mark(tx: Transaction, project: str, model: str) -> int | None:
    query = sa.select(review_mark.c.version).where(review_mark.c.project == project, review_mark.c.model == model)
    found: int | None = tx.execute(query).scalar()
    return found


def put_mark(tx: Transaction, project: str, model: str, version: int) -> None:
    upsert(tx, review_mark, {"project": project, "model": model, "version": version}, key=["project", "model"])


def add_items(tx: Transaction, rows: list[Row]) -> int:
    """Those that are not there yet; gives how many. The caller holds the queue's lock."""
    known: set[str] = set()
    for start in range(0, len(rows), _AT_ONCE):
        some = [row["id"] for row in rows[start : start + _AT_ONCE]]
        known.update(tx.execute(sa.select(_ITEM.id).where(_ITEM.id.in_(some))).scalars())
    new = list({row["id"]: row for row in rows if row["id"] not in known}.values())
    if new:
        tx.execute(sa.insert(review_item), new)
    return len(new)


def update_item(tx: Transaction, item_id: str, values: Row) -> None:
    tx.execute(sa.update(review_item).where(_ITEM.id == item_id).values(values))


def one_item(tx: Transaction, project: str, item_id: str) -> Row | None:
    query = sa.select(review_item).where(_ITEM.project == project, _ITEM.id == item_id)
    row = tx.execute(query).mappings().first()
    return dict(row) if row else None


def project_of(tx: Transaction, item_id: str) -> str | None:
    found: str | None = tx.execute(sa.select(_ITEM.project).where(_ITEM.id == item_id)).scalar()
    return found


def items(
    tx: Transaction,
    project: str,
    *,
    model: str | None = None,
    states: Iterable[str] = (),
    limit: int | None = None,
) -> list[Row]:
    """The costliest first; of several the one whose prediction is the oldest."""
    query = sa.select(review_item).where(_ITEM.project == project)
    query = query if model is None else query.where(_ITEM.model == model)
    wanted = list(states)
    query = query.where(_ITEM.state.in_(wanted)) if wanted else query
    query = query.order_by(_ITEM.priority.desc(), _ITEM.scored_at, _ITEM.id)
    return [dict(row) for row in tx.execute(query if limit is None else query.limit(limit)).mappings()]


def held_item(tx: Transaction, project: str, model: str | None, *, by: str, now_ms: int, state: str) -> Row | None:
    """What the reviewer holds."""
    query = sa.select(review_item).where(_ITEM.project == project, _ITEM.state == state)
    query = query.where(_ITEM.claimed_by == by, _ITEM.leased_until > now_ms)
    query = query if model is None else query.where(_ITEM.model == model)
    row = tx.execute(query.order_by(_ITEM.priority.desc(), _ITEM.id)).mappings().first()
    return dict(row) if row else None


def free_items(
    tx: Transaction, project: str, model: str | None, *, now_ms: int, state: str, limit: int, offset: int
) -> list[Row]:
    """Items of the state that nobody holds, the costliest first."""
    held = sa.and_(_ITEM.leased_until.is_not(None), _ITEM.leased_until > now_ms)
    query = sa.select(review_item).where(_ITEM.project == project, _ITEM.state == state, sa.not_(held))
    query = query if model is None else query.where(_ITEM.model == model)
    query = query.order_by(_ITEM.priority.desc(), _ITEM.scored_at, _ITEM.id).limit(limit).offset(offset)
    return [dict(row) for row in tx.execute(query).mappings()]


def expire(tx: Transaction, project: str, *, at: datetime, now_ms: int, states: tuple[str, str]) -> int:
    """End what waits, is held by nobody, and is past its time."""
    waiting, expired = states
    held = sa.and_(_ITEM.leased_until.is_not(None), _ITEM.leased_until > now_ms)
    late = (_ITEM.project == project, _ITEM.state == waiting, _ITEM.expires_at <= at, sa.not_(held))
    return tx.execute(sa.update(review_item).where(*late).values(state=expired, ended_at=at)).rowcount


def add_answer(tx: Transaction, values: Row) -> None:
    tx.execute(sa.insert(review_answer).values(values))


def answers(tx: Transaction, item_ids: list[str]) -> dict[str, list[Row]]:
    """By item, in the order in which they were given."""
    found: dict[str, list[Row]] = {}
    for start in range(0, len(item_ids), _AT_ONCE):
        some = item_ids[start : start + _AT_ONCE]
        query = sa.select(review_answer).where(_ANSWER.item.in_(some)).order_by(_ANSWER.item, _ANSWER.number)
        for row in tx.execute(query).mappings():
            found.setdefault(row["item"], []).append(dict(row))
    return found


def answers_of(tx: Transaction, project: str, model: str, until: datetime) -> list[Row]:
    """Every answer that was given by then, with its item's key and how the item was chosen; in order."""
    columns = (_ITEM.id, _ITEM.key, _ITEM.prediction_id, _ITEM.reason, _ITEM.propensity, _ANSWER.label, _ANSWER.at)
    joined = review_answer.join(review_item, _ANSWER.item == _ITEM.id)
    query = sa.select(*columns).select_from(joined).where(_ITEM.project == project, _ITEM.model == model)
    query = query.where(_ANSWER.at <= until).order_by(_ANSWER.at, _ITEM.id, _ANSWER.number)
    return [dict(row) for row in tx.execute(query).mappings()]


def ended(tx: Transaction, project: str, model: str, until: datetime) -> list[Row]:
    """How many items ended by then, by reason and state."""
    query = sa.select(_ITEM.reason, _ITEM.state, sa.func.count().label("items"))
    query = query.where(_ITEM.project == project, _ITEM.model == model, _ITEM.ended_at <= until)
    return [dict(row) for row in tx.execute(query.group_by(_ITEM.reason, _ITEM.state)).mappings()]


def untold(tx: Transaction, project: str, model: str, states: Iterable[str]) -> list[Row]:
    """Items whose true label has not come yet."""
    query = sa.select(review_item).where(_ITEM.project == project, _ITEM.model == model, _ITEM.told.is_(None))
    return [dict(row) for row in tx.execute(query.where(_ITEM.state.in_(list(states))).order_by(_ITEM.id)).mappings()]


def keyed(tx: Transaction, keys_of: str) -> list[tuple[str, str]]:
    """Id and key of every item whose key is one of that table."""
    query = sa.select(_ITEM.id, _ITEM.key).where(_ITEM.keys_of == keys_of)
    return [(row.id, row.key) for row in tx.execute(query)]


def delete_items(tx: Transaction, ids: list[str]) -> None:
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        tx.execute(sa.delete(review_answer).where(_ANSWER.item.in_(some)))
        tx.execute(sa.delete(review_item).where(_ITEM.id.in_(some)))


def count_states(tx: Transaction, project: str) -> list[Row]:
    columns = (_ITEM.model, _ITEM.state, sa.func.count().label("items"), sa.func.min(_ITEM.scored_at).label("oldest"))
    query = sa.select(*columns).where(_ITEM.project == project).group_by(_ITEM.model, _ITEM.state)
    return [dict(row) for row in tx.execute(query).mappings()]


def count_held(tx: Transaction, project: str, model: str, *, now_ms: int, state: str) -> int:
    held = (_ITEM.project == project, _ITEM.model == model, _ITEM.state == state, _ITEM.leased_until > now_ms)
    found: int = tx.execute(sa.select(sa.func.count()).select_from(review_item).where(*held)).scalar_one()
    return found


def compare_told(tx: Transaction, project: str, model: str) -> tuple[int, int]:
    """How many items have both an answer and a true label, and of how many the last answer is that label."""
    last = sa.select(_ANSWER.item, sa.func.max(_ANSWER.number).label("number")).group_by(_ANSWER.item).subquery()
    joined = review_item.join(last, last.c.item == _ITEM.id).join(
        review_answer, sa.and_(_ANSWER.item == last.c.item, _ANSWER.number == last.c.number)
    )
    same = sa.func.sum(sa.case((_ANSWER.label == _ITEM.told, 1), else_=0))
    query = sa.select(sa.func.count(), same).select_from(joined)
    row = tx.execute(query.where(_ITEM.project == project, _ITEM.model == model, _ITEM.told.is_not(None))).one()
    return int(row[0]), int(row[1] or 0)


def count_answers(tx: Transaction, project: str, model: str) -> dict[str, int]:
    joined = review_answer.join(review_item, _ANSWER.item == _ITEM.id)
    query = sa.select(_ANSWER.by, sa.func.count()).select_from(joined)
    query = query.where(_ITEM.project == project, _ITEM.model == model).group_by(_ANSWER.by).order_by(_ANSWER.by)
    return {row[0]: int(row[1]) for row in tx.execute(query)}
