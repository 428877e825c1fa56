"""Fairness: each group's loss above that of all rows, and what it was."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from loopline.loop.further import LEARNT_FROM, Further, champion_since, learnt, spread_of
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.promise import references_promised
from loopline.loop.resources import Resources
from loopline.loop.watch import block_floor, matured
from loopline.monitoring import watch
from loopline.monitoring.alarm_kinds import UNFAIR
from loopline.monitoring.block import BlockSummary, large_enough
from loopline.monitoring.kinds import MOST_GROUPS, Fairness, group_monitor
from loopline.monitoring.parts import group_blocks, values_of
from loopline.monitoring.risk import Reference, Risk
from loopline.monitoring.state import HarmEvidence
from loopline.scoring.record import FEATURE_PREFIX, prediction_table


def watch_fairness(resources: Resources, lane: Lane, history: History, fair: Fairness, now: datetime) -> list[Further]:
    """A monitor for each group that is large enough; which those are is found out once, on the rows that were held out from training, or where these are
    too few with their first blocks.

    A group that grows large later has no share of the budget, and is not watched.
    """
    since, column = champion_since(resources, lane), FEATURE_PREFIX + fair.by
    table, output = prediction_table(lane.project, lane.model), lane.operation.model.output
    if since is None or not resources.tables.exists(table):
        return []
    if column not in resources.tables.open(table).schema.columns:
        return []
    until = block_floor(lane.operation.model.label.mature_until(now), fair.block)
    begin = group_monitor(fair)
    with resources.database.reading() as tx:
        known = [one.name for one in watch.list_monitors(tx, lane.project) if one.model == lane.model]
        held_to = references_promised(tx, lane, begin)
    groups = [name.removeprefix(begin) for name in known if name.startswith(begin)]
    groups = groups or [name.removeprefix(begin) for name in sorted(held_to)]

    def rows(after: datetime, end: datetime) -> pl.DataFrame:
        return matured(resources, lane, history, after=after, until=end, now=now, also=[column])

    def learn(risk: Risk, first: Sequence[BlockSummary]) -> Reference:
        return learnt(risk, first) if fair.at_most is None else spread_of(risk, first, fair.at_most)

    def further(value: str, risk: Risk) -> Further:
        def blocks(after: datetime, end: datetime) -> Sequence[BlockSummary]:
            return group_blocks(rows(after, end), column, value, fair.loss, fair.block, output)

        return Further(
            begin + value,
            risk,
            since,
            until,
            blocks,
            UNFAIR,
            fair.pages,
            lambda found: _sentence(fair, value, found),
            held_to.get(begin + value),
            learn=lambda first: learn(risk, first),
            shares=True,
        )

    if not groups:
        first = fair.risk().boundary(since)
        if until <= first:
            return []
        read = rows(first, until)
        large = [
            value
            for value in values_of(read[column])[:MOST_GROUPS]
            if len(large_enough(group_blocks(read, column, value, fair.loss, fair.block, output), fair.min_rows))
            >= LEARNT_FROM
        ]
        groups = sorted(large)
    return [further(value, fair.risk(len(groups))) for value in groups]


def _sentence(fair: Fairness, value: str, found: HarmEvidence) -> str:
    return (
        f"Since about {found.onset:%Y-%m-%d %H:%M} UTC the {fair.loss} where {fair.by} is {value} lies {found.excess_since_onset:.4g} "
        f"above that of all rows, where {found.allowed:.4g} is allowed, over {found.blocks_since_onset} blocks."
    )
