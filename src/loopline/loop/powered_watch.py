"""The risk that is watched, where few labels are asked for and a judge, or the scores themselves, expect something of every row."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl
import structlog

from loopline.errors import InvalidInput
from loopline.evaluation.losses import named
from loopline.gates.promotion import CHAMPION
from loopline.loop.decision_reference import of_champion
from loopline.loop.further import Further, learnt
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.loop.watch import HARM_MONITOR, block_floor, matured
from loopline.models import registry
from loopline.monitoring import watch
from loopline.monitoring.alarm_kinds import HARM
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.kinds import Powered, key_of
from loopline.monitoring.powered import PAST, held_to, powered_blocks, sampled, square_of
from loopline.monitoring.risk import Reference, Risk
from loopline.monitoring.state import HarmEvidence

log = structlog.get_logger(__name__)

_JUDGED = ("judged", "propensity", "asked")


def watch_powered(resources: Resources, lane: Lane, history: History, powered: Powered, now: datetime) -> list[Further]:
    """The monitor, held to what the first champion's held-out rows lost; none before there is a champion.

    Where rows with labels were not chosen evenly, or are too few, the held-out rows say nothing of all: then the first eight blocks do.
    """
    with resources.database.reading() as tx:
        harm = watch.find_monitor(tx, lane.project, lane.model, HARM_MONITOR)
        serves = registry.alias(tx, lane.project, lane.model, CHAMPION)
        if harm is None or serves is None or (powered.judge and not _judges(lane, history, powered, now)):
            return []
        held = of_champion(resources, tx, lane.project, lane.model)[1]
        known = watch.find_monitor(tx, lane.project, lane.model, key_of(powered))
    risk, output = powered.risk(harm.spec), lane.operation.model.output
    constant = None if known is None else known.reference.constant
    if known is None and output.kind == "binary" and harm.spec.baseline == "base_rate" and powered.says == "label":
        constant = float(np.mean(held.labels)) if held.labels else None

    outputs, labels, numbers = held.judged(output)
    loss = named(risk.loss, output)
    usual = square_of(loss, outputs, labels, constant)

    def blocks(after: datetime, until: datetime) -> Sequence[BlockSummary]:
        rows = judged_rows(resources, lane, history, powered, after=after - PAST, until=until, now=now)
        found = sampled(rows, powered, lane.model, risk, output, constant)
        return powered_blocks(rows, found, risk, after, until, usual)

    def told(found: HarmEvidence) -> str:
        return (
            f"Since about {found.onset:%Y-%m-%d %H:%M} UTC the {risk.loss} lies {found.excess_since_onset - found.reference:.4g} above what the model "
            f"promised, over {found.blocks_since_onset} blocks: by the few labels that were asked for, and what was expected of all rows."
        )

    until = block_floor(lane.operation.model.label.mature_until(now), risk.block)
    name, since = key_of(powered), harm.started_at
    begun = Further(name, risk, since, until, blocks, HARM, powered.pages, told)
    try:
        if powered.share is not None:
            return [replace(begun, reference=held_to(loss, outputs, labels, numbers, constant, risk.min_rows))]
    except InvalidInput:
        pass
    return [replace(begun, learn=lambda first: learnt_of(risk, first).above(constant))]


def learnt_of(risk: Risk, first: Sequence[BlockSummary]) -> Reference:
    """What the first blocks show, without the spread that each has by chance of asking: that is added to each block as it is bet on."""
    found = learnt(risk, first)
    asking = float(np.mean([block.spread**2 for block in first]))
    own = max(found.spread**2 - asking, 0.0)
    return Reference(found.mean, found.upper, float(np.sqrt(own)), found.blocks, lift=found.lift)


def _table(lane: Lane, powered: Powered) -> str:
    return f"{lane.operation.model.on.loop}.{powered.judge}"


def _judges(lane: Lane, history: History, powered: Powered, now: datetime) -> bool:
    """Whether what the judge's rows hold is what is needed of them; before the first it may be."""
    said = history.known(_table(lane, powered), now)
    needed = {"judged"} if powered.share is not None else {"judged", "propensity"}
    missing = sorted(needed - set(said.columns))
    if said.is_empty() or not missing:
        return True
    log.warning("not_watched", project=lane.project, model=lane.model, monitor=key_of(powered), missing=missing)
    return False


def judged_rows(
    resources: Resources,
    lane: Lane,
    history: History,
    powered: Powered,
    *,
    after: datetime,
    until: datetime,
    now: datetime,
) -> pl.DataFrame:
    """Matured predictions of (after, until] with what the judge had last said of each by `now`."""
    rows = matured(resources, lane, history, after=after, until=until, now=now)
    if not powered.judge:
        return rows
    said = history.known(_table(lane, powered), now)
    if said.is_empty():
        return rows.with_columns(judged=pl.lit(None, pl.Float64), propensity=pl.lit(None, pl.Float64))
    columns = [name for name in _JUDGED if name in said.columns]
    last = said.sort("_known_at", maintain_order=True).unique("_key", keep="last", maintain_order=True)
    last = last.filter(~pl.col("_tombstone")).select("_key", *columns)
    return rows.drop(*columns, strict=False).join(last, on="_key", how="left", maintain_order="left")
