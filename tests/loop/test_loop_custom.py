"""Monitors of the user's own in a loop: what they see, what they remember, and what happens where they fail."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest

import loopline as ll
from loopline.errors import InvalidInput
from loopline.loop.deployment import Predictors
from loopline.loop.describe import describe
from loopline.loop.history import History
from loopline.loop.lane import lanes
from loopline.loop.monitors import watch_further
from loopline.monitoring import watch
from loopline.monitoring.alarm import list_alarms
from loopline.monitoring.performance import read_performance
from loopline.pipelines.healing import record
from loopline.scoring.record import prediction_table

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
END = START + 32 * DAY


@ll.monitor(at_most=0.4, min_rows=10)
def long_ways(rows: pl.DataFrame) -> pl.Series:
    return rows["way"] > 3.0


@ll.monitor(at_most=0.5, min_rows=10)
def short_ways(rows: pl.DataFrame) -> pl.Series:
    return rows["way"] < 3.5


@ll.monitor(tolerance=0.2, min_rows=10, start={"mean": 0.0, "blocks": 0})
def smoothed(memory: dict, rows: pl.DataFrame):
    """An exponential mean of the score, and the number of blocks that it is made of."""
    mean = 0.8 * memory["mean"] + 0.2 * float(rows["score"].mean() or 0.0)
    return {"mean": mean, "blocks": memory["blocks"] + 1}, mean


@ll.monitor(at_most=0.9, min_rows=5, labels=True)
def wrong(rows: pl.DataFrame) -> pl.Series:
    return (rows["score"] - rows["label"].cast(pl.Float64)).abs()


def watching(resources, small_loop, *custom):
    [lane, *_] = lanes(small_loop, seed=0, compare=False)
    lane = replace(lane, replayed=True, operation=replace(lane.operation, also=custom))
    history = History(resources.tables)

    def until(now: datetime) -> None:
        watch_further(resources, lane, history, Predictors(resources), now)

    return until


def monitor_of(resources, name):
    with resources.database.reading() as tx:
        return next(one for one in watch.list_monitors(tx, "parcels") if one.name.startswith(f"custom:{name}"))


def scored(resources):
    rows = resources.tables.open(prediction_table("parcels", "late")).read()
    return rows.rename({"_event_time": "at"}).sort("at", "_key")


def test_a_limit_that_is_kept_is_quiet_and_one_that_is_not_alarms(copied, small_loop):
    watching(copied, small_loop, long_ways, short_ways)(END)
    with copied.database.reading() as tx:
        alarms = [one for one in list_alarms(tx, "parcels") if one.monitor.startswith("custom:")]
        seen = read_performance(tx, "parcels", "late", "custom:short_ways")
    assert {(one.monitor, one.kind, one.page) for one in alarms} == {("custom:short_ways", "exceeded", True)}
    sentence = alarms[0].evidence["sentence"]
    assert "short_ways is 0." in sentence
    assert sentence.endswith("in the mean, where 0.5 is allowed.")
    rows = scored(copied).filter(pl.col("at") > seen[0].block_start, pl.col("at") <= seen[0].block_end)
    assert seen[0].excess == pytest.approx(float((rows["feature_way"] < 3.5).mean()))


def test_what_is_remembered_moves_with_the_watermark_however_often_it_is_asked(copied, small_loop):
    until = watching(copied, small_loop, smoothed)
    for day in range(8, 33):
        until(START + day * DAY)
        until(START + day * DAY)  # asked twice, seen once
    found = monitor_of(copied, "smoothed")
    mean, blocks = 0.0, 0
    first = watch_from(copied)
    days = (
        scored(copied)
        .filter(pl.col("at") > first, pl.col("at") <= END)
        .with_columns(day=((pl.col("at").dt.timestamp("us") - 1) // 86_400_000_000))
    )
    for _, part in days.group_by("day", maintain_order=True):
        mean, blocks = 0.8 * mean + 0.2 * float(part["score"].mean() or 0.0), blocks + 1
    assert found.state.memory["of"]["blocks"] == blocks
    assert found.state.memory["of"]["mean"] == pytest.approx(mean)


def watch_from(resources):
    """Where monitors begin: the first whole day after the first champion."""
    from loopline.models import registry  # noqa: PLC0415 - only here

    with resources.database.reading() as tx:
        at = registry.alias_history(tx, "parcels", "late", "champion")[0].from_at
    return smoothed.risk.boundary(at)


def test_labels_are_waited_for(copied, small_loop):
    watching(copied, small_loop, wrong)(END)
    found = monitor_of(copied, "wrong")
    assert found.watermark <= END - DAY
    with copied.database.reading() as tx:
        seen = read_performance(tx, "parcels", "late", "custom:wrong")
    assert all(row.labelled < row.predictions for row in seen[:3]), "a row without a label counts nothing"


def test_a_function_that_fails_stops_nothing_else_and_sees_its_blocks_later(copied, small_loop):
    broken = msgspec.structs.replace(long_ways, function=lambda rows: rows["no_such_column"])
    until = watching(copied, small_loop, broken, short_ways)
    until(END)
    assert monitor_of(copied, "short_ways").watermark == END
    assert monitor_of(copied, "long_ways").watermark < END
    work = ("parcels:late:long_ways", "monitor long_ways")
    with copied.database.reading() as tx:
        assert [one.outcome for one in record.history(tx, *work)] == ["open"]
        [failure] = [one for one in record.failures(tx, "parcels", start=START, end=END) if one.step == work[1]]
    assert failure.told.startswith("ColumnNotFoundError")
    watching(copied, small_loop, long_ways)(END)
    with copied.database.reading() as tx:
        assert [one.outcome for one in record.history(tx, *work)] == ["helped"]
    with copied.database.reading() as tx:
        mended = [
            msgspec.structs.replace(one, measured_at=END)
            for one in read_performance(tx, "parcels", "late", "custom:long_ways")
        ]
    assert len(mended) > 5
    assert monitor_of(copied, "long_ways").watermark == END


def test_other_code_remembers_nothing_of_the_old(copied, small_loop):
    limited = msgspec.structs.replace(smoothed, tolerance=None, at_most=0.9)
    watching(copied, small_loop, limited)(START + 20 * DAY)
    before = monitor_of(copied, "smoothed").state.memory

    def other(memory, rows):
        return {"mean": 0.0, "blocks": memory["blocks"] + 100}, 0.1

    watching(copied, small_loop, msgspec.structs.replace(limited, function=other))(START + 21 * DAY)
    found = monitor_of(copied, "smoothed")
    assert found.state.memory["code"] != before["code"]
    assert found.state.memory["of"]["blocks"] == 100


def test_a_plan_tells_of_changed_code_and_limits(small_loop):
    def described(custom):
        name, operation = next(iter(small_loop.operations.items()))
        changed = replace(operation, also=(custom,))
        small_loop.operations[name] = changed
        try:
            return describe(small_loop)["operations"][name]["also"]
        finally:
            small_loop.operations[name] = operation

    [said] = described(long_ways)
    assert (said["type"], said["name"], said["at_most"]) == ("custom", "long_ways", 0.4)
    assert said["code"] != described(msgspec.structs.replace(long_ways, function=short_ways.function))[0]["code"]
    assert "function" not in said


@pytest.mark.parametrize(
    "limits", [{}, {"at_most": 0.1, "tolerance": 0.1}, {"at_most": 1.0}, {"at_most": 5, "highest": 5}]
)
def test_a_limit_that_allows_nothing_or_everything_is_refused(limits):
    with pytest.raises(InvalidInput) as refused:
        ll.monitor(**limits)(lambda _rows: 0.0)
    assert refused.value.code == "monitor.custom_limit"


def test_a_function_of_other_parameters_is_refused():
    with pytest.raises(InvalidInput, match="takes 3 parameters"):
        ll.monitor(at_most=0.1)(lambda _a, _b, _c: 0.0)


ROWS = pl.DataFrame({"x": [0.0, 1.0, 2.0]})


@pytest.mark.parametrize(
    ("returned", "counted"),
    [
        (0.25, [0.25, 0.25, 0.25]),
        (pl.Series([True, None, False]), [1.0, None, 0.0]),
        ([0.5, float("nan"), 7.0], [0.5, None, 1.0]),
    ],
)
def test_a_number_counts_for_every_row_and_what_is_missing_for_none(returned, counted):
    found, _ = ll.monitor(at_most=0.5)(lambda _rows: returned).counts(ROWS, None)
    assert pl.Series(found).fill_nan(None).to_list() == counted


@pytest.mark.parametrize("returned", ["much", [0.1, 0.2], -0.5, None, pl.Series(["a", "b", "c"])])
def test_what_is_no_figure_of_the_rows_is_told(returned):
    with pytest.raises(InvalidInput) as told:
        ll.monitor(at_most=0.5)(lambda _rows: returned).counts(ROWS, None)
    assert told.value.code == "monitor.custom_value"


@pytest.mark.parametrize("returned", [0.5, (object(), 0.5), (1, 2, 3)])
def test_what_cannot_be_remembered_is_told(returned):
    with pytest.raises(InvalidInput) as told:
        ll.monitor(at_most=0.5)(lambda _memory, _rows: returned).counts(ROWS, None)
    assert told.value.code == "monitor.custom_value"


def test_a_feature_that_is_called_as_a_column_of_the_prediction_keeps_the_name_it_is_logged_by(copied, small_loop):
    seen = []
    name = prediction_table("parcels", "late")
    table = copied.tables.open(name)
    table.declare(replace(table.schema, columns={**table.schema.columns, "feature_decision": pl.Float64()}))

    @ll.monitor(at_most=0.9, min_rows=10)
    def watched(rows: pl.DataFrame) -> float:
        seen.append(rows.columns)
        return 0.0

    watching(copied, small_loop, watched)(END)
    assert {"decision", "feature_decision", "way"} <= set(seen[0])
