"""What is read on as tables grow is what a fresh reader would find."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import NotFound
from loopline.loop.history import MOST_CHUNKS, History
from loopline.tables.schema import TableSchema
from loopline.tables.tables import Tables

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def at(day: float) -> datetime:
    return T0 + day * DAY


@given(days=st.lists(st.sampled_from([0.0, 3.0, 9.5, 10.0, 17.25, 33.0, 40.0]), min_size=1, max_size=8))
@settings(max_examples=10, deadline=None)
def test_any_order_of_questions_has_the_answers_of_a_fresh_reader(replayed, days):
    history, names = History(replayed.resources.tables), ("parcels.sendings", "parcels.deliveries")
    for day in days:
        found = history.all_known(names, at(day))
        for name in names:
            fresh = replayed.resources.tables.open(name).read(known_until=at(day))
            assert in_order(found[name]).equals(in_order(fresh))


def test_day_by_day_and_through_many_appends(tmp_path: Path):
    tables = Tables(tmp_path, durable=False)
    history = History(tables)
    table = tables.create("t", TableSchema({"a": pl.Int64()}))
    for number in range(MOST_CHUNKS + 8):
        table.append(rows(number, a=number), writer="w", sequence=number + 1)
        assert history.known("t", at(number)).equals(table.read(known_until=at(number)))
    assert history.known("t", at(99)).n_chunks() <= MOST_CHUNKS
    assert history.known("t", at(3))["a"].to_list() == [0, 1, 2, 3]


def test_columns_that_come_later_are_null_before(tmp_path: Path):
    tables = Tables(tmp_path, durable=False)
    history = History(tables)
    table = tables.create("t", TableSchema({"a": pl.Int64()}))
    table.append(rows(0, a=1), writer="w", sequence=1)
    assert history.known("t", at(0)).height == 1
    tables.create("t", TableSchema({"a": pl.Int64(), "b": pl.String()}))
    table.append(rows(1, a=2, b="x"), writer="w", sequence=2)
    assert history.known("t", at(1)).equals(table.read())


def test_what_is_not_there_yet_may_come(tmp_path: Path):
    tables = Tables(tmp_path, durable=False)
    history = History(tables)
    with pytest.raises(NotFound):
        history.known("t", at(0))
    tables.create("t", TableSchema({"a": pl.Int64()})).append(rows(0, a=1), writer="w", sequence=1)
    assert history.known("t", at(0))["a"].to_list() == [1]


def rows(day: int, **payload) -> pl.DataFrame:
    system = {"_key": f"k{day}", "_event_time": at(day), "_known_at": at(day), "_tombstone": False}
    return pl.DataFrame([system | payload]).with_columns(
        pl.col("_event_time", "_known_at").cast(pl.Datetime("us", "UTC"))
    )


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """By time of knowledge: a window that was read in two parts has its rows in another order."""
    return frame.sort("_known_at", "_key", maintain_order=True)
