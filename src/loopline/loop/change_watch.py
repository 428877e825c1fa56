"""Figures of predictions that may move for good: the score, how many there are, a feature, a share."""

from collections.abc import Sequence
from datetime import datetime

from loopline.loop.further import Further, champion_since
from loopline.loop.lane import Lane
from loopline.loop.rate_watch import FIGURES, SETTLED
from loopline.loop.resources import Resources
from loopline.loop.watch import block_floor, logged_columns, predictions_between
from loopline.monitoring.alarm_kinds import MOVED
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.change import LATENCY, Change, figure_name
from loopline.monitoring.kinds import key_of
from loopline.monitoring.parts import change_blocks
from loopline.monitoring.risk import Reference
from loopline.scoring.feature_columns import plain_names


def watch_change(resources: Resources, lane: Lane, change: Change, now: datetime) -> list[Further]:
    """The monitor of a figure. How long answers took is not asked of a replay, whose own speed it would be."""
    since = champion_since(resources, lane)
    if since is None or (lane.replayed and change.of == LATENCY):
        return []

    def blocks(after: datetime, until: datetime) -> Sequence[BlockSummary]:
        rows = predictions_between(resources, lane, [*FIGURES, *logged_columns(resources, lane)], after, until)
        return [] if rows is None else change_blocks(rows.rename(plain_names(rows.columns)), change, after, until)

    return [
        Further(
            key_of(change),
            change.risk,
            since,
            block_floor(now if lane.replayed else now - SETTLED, change.block),
            blocks,
            MOVED,
            change.pages,
            lambda found: found.sentence,
            Reference(0.0, 0.0, 0.0, 0),
            moves=figure_name(lane.model, change),
        )
    ]
