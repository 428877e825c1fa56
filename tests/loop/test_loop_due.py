"""Rows due, window by window with what memory was kept, against asking the whole history of each."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from loopline.features.point_in_time import point_in_time
from loopline.loop.due import Due
from loopline.loop.history import History
from loopline.scoring.record import prediction_table
from loopline.training.subjects import known_at_their_time
from loopline.values import Window

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def by_brute_force(replayed, window: Window) -> pl.DataFrame:
    """Everything ever known goes in; the definitions alone must keep out what was not known at each row's time."""
    recipe, tables = replayed.works[0].lane.recipe, replayed.resources.tables
    whole = {name: tables.open(name).read() for name in recipe.tables}
    subjects = known_at_their_time(whole[recipe.table], at=recipe.at, window=window)
    given = subjects.select("_key", pl.col(recipe.at).alias("_event_time"), *recipe.given)
    return given.hstack(point_in_time(subjects, at=recipe.at, views=recipe.views, history=whole))


@pytest.mark.parametrize(("hours", "every"), [(24, 24), (7, 31)])
def test_rows_due_are_those_of_the_whole_history(replayed, hours, every):
    due, lane = Due(History(replayed.resources.tables)), replayed.works[0].lane
    starts = [T0 + start * HOUR for start in range(0, 20 * 24, every)]
    seen = 0
    for start in starts:
        window = Window(start, start + hours * HOUR)
        found = due.rows(lane, window)
        assert found.equals(by_brute_force(replayed, window))
        seen += found.height
    assert seen > 700 * hours / every


def test_lanes_of_one_model_share_what_was_computed(replayed):
    due, (own, other) = Due(History(replayed.resources.tables)), [work.lane for work in replayed.works]
    first, second = Window(T0, T0 + 24 * HOUR), Window(T0 + 24 * HOUR, T0 + 48 * HOUR)
    rows = due.rows(own, first)
    assert due.rows(other, first) is rows
    later = due.rows(own, second)
    assert later is not rows
    assert due.rows(own, first).equals(rows)


def test_every_row_due_was_scored_once_in_its_turn(replayed):
    for work in replayed.works:
        table = replayed.resources.tables.open(prediction_table(work.lane.project, work.lane.model))
        scored = table.read().sort("_event_time", "_key")
        due = by_brute_force(replayed, Window(T0, T0 + 32 * 24 * HOUR))
        assert scored.select("_key", "_event_time").equals(
            due.select("_key", "_event_time").sort("_event_time", "_key")
        )
        assert (scored["_known_at"] >= scored["_event_time"]).all()
        used = scored.filter(pl.col("model_version") > 0)
        assert 0 < used.height < scored.height
        expected = due.join(used.select("_key"), on="_key", how="semi").sort("_event_time", "_key")
        for name in work.lane.operation.model.feature_names:
            assert used[f"feature_{name}"].equals(expected[name].cast(used[f"feature_{name}"].dtype), check_names=False)
