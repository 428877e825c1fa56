"""Rates of predictions, watched without labels: what is degraded, slow, unanswered."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from loopline.loop.further import Further, champion_since
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.loop.watch import block_floor, predictions_between
from loopline.monitoring.alarm_kinds import EXCEEDED
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.change import LATENCY
from loopline.monitoring.kinds import Rate, key_of
from loopline.monitoring.parts import rate_blocks
from loopline.monitoring.risk import Reference
from loopline.monitoring.state import HarmEvidence

SETTLED = timedelta(minutes=15)
"""Predictions are shipped soon after they are made; a block is looked at when its last ones surely are."""

FIGURES = ["score", "decision", "degraded", "model_version", LATENCY]
"""The columns of predictions that figures without labels are made of."""


def watch_rate(resources: Resources, lane: Lane, rate: Rate, now: datetime) -> list[Further]:
    """The monitor of a rate. How long answers took is not asked of a replay, whose own speed it would be."""
    since = champion_since(resources, lane)
    if since is None or (lane.replayed and rate.of == LATENCY):
        return []

    def blocks(after: datetime, until: datetime) -> Sequence[BlockSummary]:
        rows = predictions_between(resources, lane, FIGURES, after, until)
        return [] if rows is None else rate_blocks(rows, rate)

    def told(found: HarmEvidence) -> str:
        return _sentence(rate, found)

    return [
        Further(
            key_of(rate),
            rate.risk,
            since,
            block_floor(now if lane.replayed else now - SETTLED, rate.block),
            blocks,
            EXCEEDED,
            rate.pages,
            told,
            Reference(0.0, 0.0, 0.0, 0, bounds=(0.0, rate.most)),
        )
    ]


def _sentence(rate: Rate, found: HarmEvidence) -> str:
    since = f"Since about {found.onset:%Y-%m-%d %H:%M} UTC"
    if rate.highest is not None:
        return (
            f"{since} answers took {found.excess_since_onset:.4g} ms in the mean, where {rate.at_most:g} are allowed."
        )
    slow = f"took longer than {rate.above:g} ms" if rate.above is not None else f"were {rate.of.replace('_', ' ')}"
    return f"{since} {found.excess_since_onset:.2%} of predictions {slow}, where {rate.at_most:.2%} are allowed."
