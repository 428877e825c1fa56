"""A further labelled risk of a model, by another loss than the first."""

from collections.abc import Sequence
from datetime import datetime

from loopline.loop.further import Further, champion_since, learnt
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.loop.watch import block_floor, matured
from loopline.monitoring.alarm_kinds import HARM
from loopline.monitoring.block import BlockSummary, cut
from loopline.monitoring.kinds import key_of
from loopline.monitoring.risk import Risk
from loopline.monitoring.state import HarmEvidence


def watch_extra(resources: Resources, lane: Lane, history: History, risk: Risk, now: datetime) -> list[Further]:
    """Its monitor, which learns from the first champion's first blocks what is usual."""
    since = champion_since(resources, lane)
    if since is None:
        return []

    def blocks(after: datetime, until: datetime) -> Sequence[BlockSummary]:
        rows = matured(resources, lane, history, after=after, until=until, now=now)
        return cut(rows, risk, None, lane.operation.model.output)

    def told(found: HarmEvidence) -> str:
        return found.sentence

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
            learn=lambda first: learnt(risk, first),
        )
    ]
