"""The risk that is watched, estimated block by block before the labels come."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from loopline.evaluation.estimation.estimate import BLIND, EstimatedLoss, Past
from loopline.evaluation.estimation.unlabelled import estimate_loss
from loopline.evaluation.kind import from_column
from loopline.gates.promotion import CHAMPION
from loopline.loop.decision_reference import of_champion
from loopline.loop.further import Further
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.rate_watch import SETTLED
from loopline.loop.resources import Resources
from loopline.loop.watch import HARM_MONITOR, block_floor, logged_columns, matured
from loopline.models import registry
from loopline.monitoring import watch
from loopline.monitoring.alarm_kinds import ESTIMATED_HARM
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.kinds import Estimated, key_of
from loopline.monitoring.risk import Risk
from loopline.monitoring.state import HarmEvidence
from loopline.scoring.record import prediction_table
from loopline.values import MICROSECOND, derive_seed, duration, from_micros, micros

PAST = timedelta(days=60)
MOST_PAST = 20_000
"""Labelled rows to learn from: so many of the newest, and none older than that."""

_COLUMNS = ["_event_time", "score", "outputs", "model_version"]


def watch_estimated(
    resources: Resources, lane: Lane, history: History, estimated: Estimated, now: datetime
) -> list[Further]:
    """The monitor of the estimated risk, held to the promise that the labelled one is held to; none where that has not begun."""
    with resources.database.reading() as tx:
        harm = watch.find_monitor(tx, lane.project, lane.model, HARM_MONITOR)
    if harm is None:
        return []
    risk = estimated.risk(harm.spec)

    def blocks(after: datetime, until: datetime) -> Sequence[BlockSummary]:
        return estimated_blocks(resources, lane, history, risk, after=after, until=until, now=now)

    def told(found: HarmEvidence) -> str:
        return (
            f"Since about {found.onset:%Y-%m-%d %H:%M} UTC the {risk.loss} is estimated to lie "
            f"{found.excess_since_onset - found.reference:.4g} above what the model promised, over {found.blocks_since_onset} blocks. {BLIND}"
        )

    until = block_floor(now if lane.replayed else now - SETTLED, risk.block)
    since = harm.started_at
    kind, page = ESTIMATED_HARM, estimated.pages
    return [Further(key_of(estimated), risk, since, until, blocks, kind, page, told, harm.reference)]


def estimated_blocks(
    resources: Resources,
    lane: Lane,
    history: History,
    risk: Risk,
    *,
    after: datetime,
    until: datetime,
    now: datetime,
) -> list[BlockSummary]:
    """Whole blocks of (after, until] with the loss that their predictions are to be expected to have.

    It is learnt from labelled rows of the version that answered most of the block, known by `now`; where there are too few, from those
    that were held out of its training. One standard error of the estimate is taken off. A block of which nothing can be said has
    predictions and no loss.
    """
    table = prediction_table(lane.project, lane.model)
    if not resources.tables.exists(table):
        return []
    logged = logged_columns(resources, lane)
    rows = resources.tables.open(table).read(event_after=after, event_until=until, columns=[*_COLUMNS, *logged])
    past = _past(resources, lane, history, logged, now) if rows.height else rows
    length = duration(risk.block) // MICROSECOND
    edges = [from_micros(edge) for edge in range(micros(after), micros(until) + 1, length)]
    found = []
    for start, end in pairwise(edges):
        block = rows.filter((pl.col("_event_time") > start) & (pl.col("_event_time") <= end))
        if block.height:
            found.append(_block(resources, lane, risk, block, past, logged, start, end))
    return found


def _past(resources: Resources, lane: Lane, history: History, logged: Sequence[str], now: datetime) -> pl.DataFrame:
    until = lane.operation.model.label.mature_until(now)
    rows = matured(resources, lane, history, after=until - PAST, until=until, now=now, also=logged)
    outputs = lane.operation.model.output.column
    return rows.filter(pl.col("label").is_not_null() & pl.col(outputs).is_not_null())


def _block(
    resources: Resources,
    lane: Lane,
    risk: Risk,
    rows: pl.DataFrame,
    past: pl.DataFrame,
    logged: Sequence[str],
    start: datetime,
    end: datetime,
) -> BlockSummary:
    output = lane.operation.model.output
    column = output.column
    counts = rows["model_version"].value_counts(sort=True).sort("count", "model_version", descending=True)
    version = int(counts["model_version"][0])
    answered = rows.filter((pl.col("model_version") == version) & pl.col(column).is_not_null())
    known, features = _known(resources, lane, past.filter(pl.col("model_version") == version), version, logged, risk)
    seed = derive_seed(lane.seed, "estimate", lane.project, lane.model, end.isoformat())
    outputs = output.shaped(from_column(answered[column]))
    found = estimate_loss(risk.loss, output, known, outputs, answered.select(logged) if features else None, seed)
    return _summary(risk, found, rows.height, str(version), start, end)


def _known(
    resources: Resources, lane: Lane, past: pl.DataFrame, version: int, logged: Sequence[str], risk: Risk
) -> tuple[Past, bool]:
    """Labelled rows of the version, and whether they have their features."""
    output = lane.operation.model.output
    newest = past.sort("at", maintain_order=True).tail(MOST_PAST)
    if newest.height >= risk.min_rows * 2:
        length = duration(risk.block) // MICROSECOND
        outputs = output.shaped(from_column(newest[output.column]))
        block = (newest["at"].dt.timestamp("us") - 1) // length
        labels = newest["label"].cast(pl.Float64).to_numpy()
        return Past(outputs, labels, block.to_numpy(), newest.select(logged) if logged else None), bool(logged)
    with resources.database.reading() as tx:
        champion = registry.alias(tx, lane.project, lane.model, CHAMPION)
        ours = champion == version and lane.operation.model.external is None
        held = of_champion(resources, tx, lane.project, lane.model)[1] if ours else None
    if held is None or not held.held_out:
        return Past(output.shaped(np.empty((0, output.width))), np.empty(0), np.empty(0, dtype=np.int64)), False
    return Past(*held.judged(output)), False


def _summary(
    risk: Risk, found: EstimatedLoss, predictions: int, version: str, start: datetime, end: datetime
) -> BlockSummary:
    rows = 0 if found.value is None else found.rows
    value = 0.0 if found.value is None else found.value - found.error
    return BlockSummary(
        start=start,
        end=end,
        predictions=predictions,
        labelled=rows,
        positives=0.0,
        expected=0.0,
        loss=value * rows,
        constant=(found.baseline or 0.0) * rows if risk.baseline == "base_rate" else None,
        model_version=version,
        effective=found.effective,
    )
