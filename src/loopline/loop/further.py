"""One further monitor of a lane: what it learns its reference from, what blocks it sees, and what its alarms say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from loopline.errors import InvalidInput
from loopline.gates.promotion import CHAMPION
from loopline.loop.alarms import record_alarm
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.loop.watch import follow_declaration
from loopline.models import registry
from loopline.monitoring import watch
from loopline.monitoring.alarm import Alarm
from loopline.monitoring.block import BlockSummary, large_enough
from loopline.monitoring.change_watch import advance_change
from loopline.monitoring.risk import Reference, Risk, reference_of
from loopline.monitoring.state import HarmEvidence
from loopline.monitoring.together import name_together

log = structlog.get_logger(__name__)

LEARNT_FROM = 8
"""So many blocks tell how a figure spreads, where no rows that were held out do."""

Blocks = Callable[[datetime, datetime], Sequence[BlockSummary]]


@dataclass(frozen=True)
class Further:
    """`blocks(after, until)` gives whole blocks of (after, until], in the order of time. The monitor begins at `since`, with the `reference` or,
    where there is none yet, with what `learn` makes of the first eight blocks, after them.
    """

    name: str
    risk: Risk
    since: datetime
    until: datetime
    blocks: Blocks
    kind: str
    page: bool
    told: Callable[[HarmEvidence], str]
    reference: Reference | None = None
    learn: Callable[[Sequence[BlockSummary]], Reference] | None = None
    memory: Any = None
    """What a monitor that remembers begins with."""
    shares: bool = False
    """Whether it has one budget with the others that are advanced with it."""
    moves: str = ""
    """What a figure is called that is held to nothing, but told of where it moves."""


def champion_since(resources: Resources, lane: Lane) -> datetime | None:
    """Since when the lane has had a champion; None before the first."""
    with resources.database.reading() as tx:
        changes = registry.alias_history(tx, lane.project, lane.model, CHAMPION)
    return changes[0].from_at if changes else None


def advance(resources: Resources, lane: Lane, all_of_them: Sequence[Further], now: datetime) -> list[Alarm]:
    """Let monitors that belong together see what is due, starting those that are new, all at once; gives the alarms raised.

    Each one's state, watermark, performance, alarms and their ledger entries commit together.
    """
    _start(resources, lane, all_of_them, now)
    raised = [alarm for one in all_of_them for alarm in _advance(resources, lane, one, now)]
    return raised + _together(resources, lane, [one for one in all_of_them if one.shares], now)


def _together(resources: Resources, lane: Lane, sharing: Sequence[Further], now: datetime) -> list[Alarm]:
    """The alarms of those that are found together, though none has enough evidence alone."""
    if not sharing:
        return []
    with resources.database.transaction() as tx:
        known = {one.name for one in watch.list_monitors(tx, lane.project) if one.model == lane.model}
        told = {one.name: one.told for one in sharing if one.name in known}
        if not told:
            return []
        first = sharing[0]
        raised = name_together(
            tx, project=lane.project, model=lane.model, told=told, at=now, kind=first.kind, page=first.page
        )
        for alarm in raised:
            record_alarm(tx, alarm, at=now)
        return raised


def _advance(resources: Resources, lane: Lane, one: Further, now: datetime) -> list[Alarm]:
    with resources.database.reading() as tx:
        monitor = watch.find_monitor(tx, lane.project, lane.model, one.name)
    if monitor is None:
        return []
    monitor = follow_declaration(resources, lane, monitor, one.risk, now)
    if one.until <= monitor.watermark:
        return []
    blocks = one.blocks(monitor.watermark, one.until)
    scope = {"project": lane.project, "model": lane.model, "name": one.name}
    with resources.database.transaction() as tx:
        raised = (
            advance_change(tx, **scope, blocks=blocks, at=now, what=one.moves, page=one.page)
            if one.moves
            else watch.advance(tx, **scope, blocks=blocks, at=now, kind=one.kind, page=one.page, told=one.told)
        )
        for alarm in raised:
            record_alarm(tx, alarm, at=now)
        return raised


def learnt(risk: Risk, blocks: Sequence[BlockSummary]) -> Reference:
    """What blocks show: their mean excess with its bound, spread, season and what is carried over. Raises `InvalidInput`."""
    excesses = [block.excess(risk) for block in blocks]
    return reference_of(excesses, starts=[block.start for block in blocks], block=risk.block)


def spread_of(risk: Risk, blocks: Sequence[BlockSummary], mean: float = 0.0) -> Reference:
    """What is declared as the usual `mean` excess, with the spread that blocks show. Raises `InvalidInput`."""
    found = reference_of([block.excess(risk) for block in blocks])
    return Reference(mean, mean, found.spread, found.blocks, carry=found.carry, lift=found.lift)


def _start(resources: Resources, lane: Lane, all_of_them: Sequence[Further], now: datetime) -> None:
    with resources.database.reading() as tx:
        known = {one.name for one in watch.list_monitors(tx, lane.project) if one.model == lane.model}
    begun = [(one, found) for one in all_of_them if one.name not in known and (found := _begin(lane, one)) is not None]
    if not begun:
        return
    with resources.database.transaction() as tx:
        for one, (reference, watermark, memory) in begun:
            watch.start_monitor(
                tx,
                project=lane.project,
                model=lane.model,
                name=one.name,
                spec=one.risk,
                reference=reference,
                watermark=watermark,
                at=now,
                memory=memory,
            )


def _begin(lane: Lane, one: Further) -> tuple[Reference, datetime, Any] | None:
    """The reference, from when on blocks are bet on, and what is remembered by then; None while that cannot be said."""
    watermark = one.risk.boundary(one.since)
    if one.reference is not None:
        return one.reference, watermark, one.memory
    if one.until <= watermark or one.learn is None:
        return None
    first = large_enough(one.blocks(watermark, one.until), one.risk.min_rows)[:LEARNT_FROM]
    if len(first) < LEARNT_FROM:
        return None
    try:
        return one.learn(first), first[-1].end, first[-1].memory
    except InvalidInput as error:
        log.warning("not_watched", project=lane.project, model=lane.model, monitor=one.name, why=error.message)
        return None
