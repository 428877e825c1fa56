"""The review queue of a lane: filled from what was predicted, told what became known, read as labels."""

from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from loopline.decisions.decision import decode_decision
from loopline.labels.outcomes import LABEL_KEY, outcomes
from loopline.labels.review import queue
from loopline.labels.review.choosing import chosen
from loopline.labels.review.reviewed import Reviewed, reviewed_labels
from loopline.labels.review.terms import ReviewTerms
from loopline.loop import store
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.pushed_labels import pushed_labels
from loopline.loop.resources import Resources
from loopline.models import decision_versions
from loopline.scoring.record import prediction_table
from loopline.storage.database import Transaction

_READ = ("_key", "_event_time", "prediction_id", "scored_at", "model_version", "decision", "score", "outputs")


def fill_reviews(resources: Resources, lane: Lane, at: datetime) -> int:
    """Put into the queue what is to be reviewed of all that was predicted since it was last filled; gives how many are new. Each prediction is
    looked at once, whenever it came: what is chosen, and that it was looked at, commit together.

    Nothing happens where the loop declares no reviews, and in a replay, where there is nobody to ask.
    """
    terms, name = lane.operation.review, prediction_table(lane.project, lane.model)
    if terms is None or lane.replayed or not resources.tables.exists(name):
        return 0
    table = resources.tables.open(name)
    with resources.database.reading() as tx:
        after = queue.looked_through(tx, lane.project, lane.model)
        decision = decision_versions.current_decision(tx, lane.project, lane.model)
    if after >= table.version:
        return 0
    until, rows = table.appended(after, columns=_READ)
    rows = table.without_erased(rows).filter(~pl.col("prediction_id").is_null())
    priced = decode_decision(decision.body) if decision else None
    picked = chosen(rows, terms, priced, lane.operation.model.output, lane.seed)
    with resources.database.transaction() as tx:
        return queue.enter(
            tx,
            picked,
            terms,
            project=lane.project,
            model=lane.model,
            keys_of=lane.operation.model.on.table,
            after=after,
            until=until,
            at=at,
        )


def tell_reviews(resources: Resources, lane: Lane, history: History, now: datetime) -> int:
    """Note the true labels of what is or was reviewed, where they came; gives how many. What is past its time ends."""
    if lane.operation.review is None or lane.replayed:
        return 0
    with resources.database.reading() as tx:
        keys = queue.open_keys(tx, lane.project, lane.model)
    told: dict[str, tuple[float, datetime]] = {}
    if keys:
        told = _told(resources, lane, history, keys, now)
    with resources.database.transaction() as tx:
        queue.expire(tx, lane.project, now)
        return queue.tell(tx, lane.project, lane.model, told, now)


def _told(
    resources: Resources, lane: Lane, history: History, keys: list[str], now: datetime
) -> dict[str, tuple[float, datetime]]:
    label = lane.operation.model.label
    table = resources.tables.open(prediction_table(lane.project, lane.model))
    wanted = pl.col("_key").is_in(pl.Series(keys, dtype=pl.String).implode())
    rows = table.read(columns=["_key", "_event_time", "label_key"], where=wanted).unique("_key", keep="last")
    joined = outcomes(
        rows.rename({"label_key": LABEL_KEY}),
        history.known(label.table, now),
        label,
        as_of=now,
        pushed=pushed_labels(resources, lane, now),
    ).filter(pl.col("label").is_not_null() & pl.col("label_known_at").is_not_null())
    found = joined.select("_key", "label", "label_known_at").iter_rows()
    return {key: (value, known) for key, value, known in found}


def reviewed_of(resources: Resources, lane: Lane, now: datetime) -> Reviewed | None:
    """The labels that reviewers gave by `now`; None where the loop declares no reviews."""
    terms = lane.operation.review
    if terms is None or lane.replayed:
        return None
    with resources.database.reading() as tx:
        return reviewed_labels(tx, lane.project, lane.model, now, most_weight=terms.most_weight)


def declared_reviews(tx: Transaction, project: str) -> dict[str, ReviewTerms]:
    """The terms of each model of the loop as applied that declares reviews."""
    applied = store.latest_applied(tx, project.split(".", 1)[0])
    said: dict[str, Any] = applied["declaration"]["operations"] if applied else {}
    return {name: msgspec.convert(one["review"], ReviewTerms) for name, one in said.items() if "review" in one}
