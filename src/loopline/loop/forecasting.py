"""What retraining is expected to save: learnt from what each training brought over the champion of its time."""

import math
from datetime import datetime, timedelta
from typing import Any

from loopline.evaluation.intervals import paired_by_block
from loopline.gates.check import Comparison
from loopline.incidents.forecast import Forecast, Tried, expected_gain
from loopline.incidents.incident import Incident
from loopline.incidents.prices import Prices
from loopline.loop.lane import Lane
from loopline.loop.watch import HARM_MONITOR
from loopline.models import registry
from loopline.models.registry import ModelVersion
from loopline.monitoring.alarm import read_alarm
from loopline.monitoring.alarm_kinds import HARM
from loopline.monitoring.performance import read_performance
from loopline.storage.database import Transaction

BROUGHT = "brought"
"""Where a version's lineage holds what its training brought over the champion of its time."""
_RECENT = timedelta(days=28)
_DAY = 86_400.0


def brought(comparison: Comparison, loss: str, *, rows: int, champion: ModelVersion | None) -> dict[str, Any]:
    """For the lineage of a version that was trained on `rows`, held-out rows among them; empty without a champion to compare with,
    and where no spread between blocks is known.
    """
    before = rows_of(champion) if champion else None
    if champion is None or before is None:
        return {}
    judged = comparison.losses(loss)
    if judged["block"].n_unique() < 2:  # noqa: PLR2004 - one block says nothing of spread
        return {}
    gain = paired_by_block(
        judged["champion_loss"].to_numpy(), judged["candidate_loss"].to_numpy(), judged["block"].to_numpy()
    )
    told = {"loss": loss, "over": champion.version, "growth": rows / before, "gain": gain.mean, "error": gain.error}
    return {BROUGHT: told}


def rows_of(version: ModelVersion) -> float | None:
    """The labelled rows that were known when it was trained; None for one that was registered by hand."""
    found = version.metrics
    return float(found["rows"]) + float(found["holdout_rows"]) if {"rows", "holdout_rows"} <= set(found) else None


def tried(tx: Transaction, lane: Lane) -> list[Tried]:
    """What the model's trainings brought, in the loss that is watched."""
    found = [one.lineage.get(BROUGHT) for one in registry.versions(tx, lane.project, lane.model)]
    mine = [one for one in found if one and one["loss"] == lane.operation.watch.loss]
    return [Tried(one["growth"], one["gain"], one["error"]) for one in mine]


def forecast(
    tx: Transaction, lane: Lane, prices: Prices, horizon: str, *, growth: float, harms: list[Incident], now: datetime
) -> Forecast:
    """The sums for a training at `now`, when the labelled rows have grown `growth` times; `harms` are the open incidents for harm."""
    gain, error, learnt_from = expected_gain(tried(tx, lane), growth)
    rises = [_rise(tx, one) for one in harms]
    return Forecast(horizon, growth, learnt_from, gain, error, max(rises, default=0.0), _traffic(tx, lane, now), prices)


def _rise(tx: Transaction, found: Incident) -> float:
    """By how much the loss has risen beyond its reference since the onset, as the newest of the incident's alarms for harm says."""
    alarms = [read_alarm(tx, one) for one in found.alarms]
    told = max((one for one in alarms if one.kind == HARM), key=lambda one: one.block_end, default=None)
    if told is None:
        return 0.0
    rise = float(told.evidence["excess_since_onset"]) - float(told.evidence["reference"])
    return max(rise, 0.0) if math.isfinite(rise) else 0.0


def _traffic(tx: Transaction, lane: Lane, now: datetime) -> float:
    """Predictions a day over the last four weeks of blocks that matured."""
    rows = read_performance(tx, lane.project, lane.model, HARM_MONITOR)
    newest = max((one.block_end for one in rows), default=now)
    recent = [one for one in rows if one.block_end > newest - _RECENT]
    if not recent:
        return 0.0
    days = (newest - min(one.block_start for one in recent)).total_seconds() / _DAY
    return sum(one.predictions for one in recent) / days
