"""Regret: what the champion loses more than another model on the same rows."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np
import polars as pl

from loopline.evaluation.kind import as_column
from loopline.evaluation.losses import named
from loopline.gates import variants
from loopline.gates.promotion import CHAMPION, previous_champion
from loopline.loop.challenger import CHALLENGER
from loopline.loop.decision_reference import of_champion
from loopline.loop.deployment import Predictors
from loopline.loop.further import LEARNT_FROM, Further
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.loop.watch import block_floor, logged_columns, matured
from loopline.models import registry
from loopline.monitoring.alarm_kinds import REGRET
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.kinds import Regret, key_of
from loopline.monitoring.parts import paired_blocks
from loopline.monitoring.performance import read_performance
from loopline.monitoring.risk import Reference, Risk
from loopline.monitoring.state import HarmEvidence
from loopline.scoring.feature_columns import as_kinds, by_name
from loopline.scoring.record import prediction_table

_LATELY = 30
_TWICE = 2.0
_UNKNOWN = 10.0


def watch_regret(
    resources: Resources, lane: Lane, history: History, predictors: Predictors, regret: Regret, now: datetime
) -> list[Further]:
    """The monitor of the champion in force against the other model in force; each such pair has one of its own."""
    with resources.database.reading() as tx:
        changes = registry.alias_history(tx, lane.project, lane.model, CHAMPION)
        before = previous_champion(tx, project=lane.project, model=lane.model) if changes else None
        places = variants.find(tx, lane.project, model=lane.model, only_running=True)
    if not changes or changes[-1].version is None:
        return []
    since, other = changes[-1].from_at, before
    if regret.over == "challenger":
        beside = [one for one in places if one.name == CHALLENGER]
        other = beside[-1].version if beside else None
        since = max(since, beside[-1].started_at) if beside else since
    if other is None:
        return []
    against = other
    name = f"{key_of(regret)}:{changes[-1].version}-{against}"
    cautious = _cautious(resources, lane, regret)
    output = lane.operation.model.output

    def blocks(after: datetime, until: datetime) -> Sequence[BlockSummary]:
        if regret.over == "challenger":
            rows = _beside(resources, lane, history, against, after=after, until=until, now=now)
        else:
            rows = _anew(resources, lane, history, predictors, against, after=after, until=until, now=now)
        found = paired_blocks(rows, regret.loss, regret.block, output)
        return with_spread(found, _seen(resources, lane, name, regret.min_rows), regret.risk, cautious)

    def told(found: HarmEvidence) -> str:
        return (
            f"Since about {found.onset:%Y-%m-%d %H:%M} UTC version {changes[-1].version} loses {found.excess_since_onset:.4g} more "
            f"than version {against} on the same rows ({regret.loss}), over {found.blocks_since_onset} blocks."
        )

    return [
        Further(
            name,
            regret.risk,
            since,
            block_floor(lane.operation.model.label.mature_until(now), regret.block),
            blocks,
            REGRET,
            regret.pages,
            told,
            Reference(0.0, 0.0, 0.0, 0),
        )
    ]


def with_spread(
    blocks: Sequence[BlockSummary], seen: Sequence[float], risk: Risk, cautious: float
) -> list[BlockSummary]:
    """Each block with how far regret varies from block to block, as those before it show; where these are fewer than eight, what is `cautious`.

    `seen` are the excesses of blocks before the first. Nothing of a block decides how it is bet on.
    """
    found, before = [], list(seen)
    for block in blocks:
        few = len(before) < LEARNT_FROM
        spread = cautious if few else float(np.std(before[-_LATELY:], ddof=1)) * (1 + 1 / LEARNT_FROM)
        found.append(msgspec.structs.replace(block, chance=(spread * block.units) ** 2))
        before += [block.excess(risk)] if block.labelled >= risk.min_rows else []
    return found


def _seen(resources: Resources, lane: Lane, name: str, min_rows: int) -> list[float]:
    with resources.database.reading() as tx:
        rows = read_performance(tx, lane.project, lane.model, name)
    return [row.excess for row in rows if row.excess is not None and row.labelled >= min_rows]


def _cautious(resources: Resources, lane: Lane, regret: Regret) -> float:
    """Two models that err on the same days differ less than twice as much as the loss of one does from day to day, on rows that were held out."""
    with resources.database.reading() as tx:
        held = of_champion(resources, tx, lane.project, lane.model)[1]
    output = lane.operation.model.output
    outputs, labels, blocks = held.judged(output)
    if not len(labels) or output.kind == "ranking":
        return regret.tolerance * _UNKNOWN
    lost = named(regret.loss, output).rows(outputs, labels)
    _, member, rows = np.unique(blocks, return_inverse=True, return_counts=True)
    means = np.bincount(member, weights=lost) / rows
    return _TWICE * float(means.std(ddof=1)) if len(means) > 1 else regret.tolerance * _UNKNOWN


def _anew(
    resources: Resources,
    lane: Lane,
    history: History,
    predictors: Predictors,
    version: int,
    *,
    after: datetime,
    until: datetime,
    now: datetime,
) -> pl.DataFrame:
    """Matured rows with what the version makes of the features that were logged, in `other`."""
    with resources.database.reading() as tx:
        predictor = predictors.version(tx, lane.project, lane.model, version)
    logged = logged_columns(resources, lane)
    rows = matured(resources, lane, history, after=after, until=until, now=now, also=logged)
    features = as_kinds(by_name(rows.select(logged)), {field.name: field.kind for field in predictor.signature.fields})
    if rows.is_empty():
        return rows.with_columns(other=pl.lit(None, pl.Float64))
    return rows.drop(logged).with_columns(as_column("other", predictor.predict(features)))


def _beside(
    resources: Resources,
    lane: Lane,
    history: History,
    version: int,
    *,
    after: datetime,
    until: datetime,
    now: datetime,
) -> pl.DataFrame:
    """Matured rows with what the challenger answered in the shadow, in `other`; rows that it did not see are left out."""
    rows = matured(resources, lane, history, after=after, until=until, now=now, also=["prediction_id"])
    name = prediction_table(lane.project, lane.model, shadow=True)
    if not resources.tables.exists(name):
        return rows.clear().with_columns(other=pl.lit(None, pl.Float64))
    seen = resources.tables.open(name).read(
        event_after=after,
        event_until=until,
        columns=["prediction_id", "score", "outputs"],
        where=(pl.col("variant") == CHALLENGER) & (pl.col("model_version") == version),
    )
    theirs = seen.select("prediction_id", other=pl.col(lane.operation.model.output.column)).unique("prediction_id")
    return rows.join(theirs, on="prediction_id", how="inner", maintain_order="left")
