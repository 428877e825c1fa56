"""A further labelled risk of a model, by another loss than the first."""

from collections.abc import Sequence
from datetime import datetime

from loopline.loop.further import Further, champion_since, learnt
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.promise import references_promised
from loopline.loop.resources import Resources
from loopline.loop.watch import block_floor, matured
from loopline.monitoring.alarm_kinds import HARM
from loopline.monitoring.block import BlockSummary, cut
from loopline.monitoring.kinds import key_of
from loopline.monitoring.risk import Risk
from loopline.monitoring.state import HarmEvidence


def watch_extra(resources: Resources, lane: Lane, history: History, risk: Risk, now: datetime) -> list[Further]:
    """Its monitor, held to what the first champion's held-out rows lost, or where these were too few to what its first blocks do."""
    since = champion_since(resources, lane)
    if since is None:
        return []

    def blocks(after: datetime, until: datetime) -> Sequence[BlockSummary]:
        rows = matured(resources, lane, history, after=after, until=until, now=now)
        return cut(rows, risk, None, lane.operation.model.output)

    def told(found: HarmEvidence) -> str:
        return found.sentence

    with resources.database.reading() as tx:
        held_to = references_promised(tx, lane, key_of(risk)).get(key_of(risk))
    until = block_floor(lane.operation.model.label.mature_until(now), risk.block)
    return [
        Further(
            key_of(risk),
            risk,
            since,
            until,
            blocks,
            HARM,
            page=True,
            told=told,
            reference=held_to,
            learn=lambda first: learnt(risk, first),
        )
    ]
