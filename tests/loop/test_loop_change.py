"""Figures that may move for good in a loop: what each counts, that each block counts once, and what a move becomes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest

import loopline as ll
from loopline.errors import InvalidInput
from loopline.evaluation.kind import BINARY, Output
from loopline.incidents import incident
from loopline.loop.deployment import Predictors
from loopline.loop.describe import describe
from loopline.loop.history import History
from loopline.loop.lane import lanes
from loopline.loop.monitors import watch_further
from loopline.loop.respond import open_incidents
from loopline.monitoring import watch
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.change_watch import advance_change, moves_of, seed_of, series_of
from loopline.monitoring.kinds import read_watched
from loopline.monitoring.performance import read_performance
from loopline.monitoring.risk import Reference, Risk
from loopline.monitoring.series import SeriesState, watch_series
from loopline.scoring.record import prediction_table
from loopline.values import Window

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
END = START + 32 * DAY


def watching(resources, small_loop, *changes):
    [lane, *_] = lanes(small_loop, seed=0, compare=False)
    lane = replace(lane, replayed=True, operation=replace(lane.operation, also=changes))
    history = History(resources.tables)

    def until(now: datetime) -> None:
        watch_further(resources, lane, history, Predictors(resources), now)

    return until


PLAIN = {
    "score": lambda part: part["score"].mean(),
    "way": lambda part: part["feature_way"].mean(),
    "rows": lambda part: part.height,
    "degraded": lambda part: (part["degraded"].list.len() > 0).mean(),
    "decision=positive": lambda part: (part["decision"] == "positive").mean(),
    "carrier=north": lambda part: (part["feature_carrier"] == "north").mean(),
}


def test_each_figure_is_what_a_plain_reading_of_the_block_gives_and_counts_once(copied, small_loop):
    changes = [ll.Change(of, block="6h", min_rows=3) for of in PLAIN]
    until = watching(copied, small_loop, *changes)
    for day in (20, 20, 26, 32, 32):
        until(START + day * DAY)
    rows = copied.tables.open(prediction_table("parcels", "late")).read()
    for change in changes:
        with copied.database.reading() as tx:
            monitor = watch.read_monitor(tx, "parcels", "late", f"change:{change.of}")
            seen = read_performance(tx, "parcels", "late", f"change:{change.of}")
        assert (monitor.watermark, monitor.state.blocks, len(seen)) == (END, 72, 72)
        assert monitor.state.memory["seen"] == 72
        for one in (seen[0], seen[-1]):
            part = rows.filter(pl.col("_event_time") > one.block_start, pl.col("_event_time") <= one.block_end)
            assert one.excess == pytest.approx(PLAIN[change.of](part))
            assert part.height


def test_day_by_day_or_at_once_the_same_is_known(copied, small_loop):
    way = ll.Change("way", block="6h", min_rows=3)
    until = watching(copied, small_loop, way)
    for day in range(10, 33):
        until(START + day * DAY)
    with copied.database.reading() as tx:
        known = series_of(watch.read_monitor(tx, "parcels", "late", "change:way"))
    at_once, _ = watch_series(
        SeriesState(),
        [one.value for one in known.recent],
        [one.at for one in known.recent],
        threshold=way.risk.threshold,
        seed=seed_of("parcels", "late", "change:way"),
    )
    assert len(known.sample) == 71
    assert at_once == known


def moves(tx, monitor, *levels):
    """A monitor of one value a day that goes through these levels, forty days each."""
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(level, 1, 40) for level in levels])
    scope = {"project": "parcels", "model": "late", "name": monitor}
    spec = Risk(monitor, 1.0, "1d", 1.0, "none", 1)
    watch.start_monitor(tx, **scope, spec=spec, reference=Reference(0.0, 0.0, 0.0, 0), watermark=START, at=START)
    blocks = [
        BlockSummary(
            start=START + place * DAY,
            end=START + (place + 1) * DAY,
            predictions=1,
            labelled=1,
            positives=0.0,
            expected=0.0,
            loss=value,
        )
        for place, value in enumerate(values.tolist())
    ]
    return [
        alarm
        for block in blocks
        for alarm in advance_change(tx, **scope, blocks=[block], at=block.end, what="the mean score of late")
    ]


def test_each_move_opens_an_incident_of_its_own_and_ends_the_one_before(copied, small_loop):
    [lane, *_] = lanes(small_loop, seed=0, compare=False)
    with copied.database.transaction() as tx:
        raised = moves(tx, "change:score", 0, 6, -6)
        other = moves(tx, "change:rows", 0, 6)
    assert [(one.kind, one.page, one.evidence["moved"]["way"]) for one in raised] == [
        ("moved", True, "higher"),
        ("moved", True, "lower"),
    ]
    assert raised[0].evidence["sentence"].startswith("Since about 2026-02-10 (between 2026-02-0")
    assert ") the mean score of late lies at 5." in raised[0].evidence["sentence"]
    assert raised[0].block_start == START + 40 * DAY
    open_incidents(copied, lane, History(copied.tables), {}, Window(END, END + 200 * DAY))
    with copied.database.reading() as tx:
        found = [one for one in incident.find(tx, "parcels") if one.kind == "moved"]
        states = {alarm: one.state for one in found for alarm in one.alarms}
        assert (states[raised[0].id], states[raised[1].id]) == ("resolved", "open")
        assert moves_of(tx, watch.read_monitor(tx, "parcels", "late", "change:score"))[1].way == "lower"
    assert other[0].id in states


def test_it_is_declared_described_and_asked_for_by_a_condition(small_loop):
    change = ll.Change("score", false_pages_per_year=2)
    described = describe(replace_also(small_loop, change))["operations"]["late"]["also"]
    assert described == [msgspec.to_builtins(change)]
    assert described[0]["type"] == "change"
    assert (ll.moved.kind, change.risk.threshold) == ("moved", 365.25 / 2)


def replace_also(loop, *also):
    operations = {name: replace(one, also=also) for name, one in loop.operations.items()}
    return replace(loop, operations=operations)


@pytest.mark.parametrize("of", ["", "nothing", "nothing=1", "score=0.5"])
def test_a_figure_that_there_is_not_is_refused(of):
    with pytest.raises(InvalidInput) as refused:
        read_watched([ll.Risk("log_loss"), ll.Change(of)], BINARY, ["way"])
    assert refused.value.code in {"monitor.change", "monitor.no_figure"}


def test_what_has_no_score_and_a_budget_that_is_none_are_refused():
    with pytest.raises(InvalidInput, match="no figure"):
        read_watched([ll.Risk("log_loss"), ll.Change("score")], Output("multiclass", ("a", "b", "c")), ["way"])
    with pytest.raises(InvalidInput, match="no change"):
        ll.Change("score", block="1w", false_pages_per_year=6)
    assert read_watched([ll.Risk("log_loss"), ll.Change("way"), ll.Change("rows")], BINARY, ["way"])[1][0].of == "way"
