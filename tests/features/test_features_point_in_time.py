from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from loopline.errors import InvalidInput, NotFound
from loopline.features.definitions import Aggregate, LatestView, WindowView
from loopline.features.point_in_time import point_in_time, restrict

START = datetime(2024, 3, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
TICK = timedelta(microseconds=1)
COUNT = WindowView("t", "who", {"n": Aggregate("count", "x", "3h"), "sum": Aggregate("sum", "x", "3h")})
LAST = LatestView("t", "who", {"last": "x"}, max_age="3h")


def hour(number):
    return START + timedelta(hours=number)


def history(*rows):
    """Rows of key, event, known, entity, x, and perhaps tombstone."""
    padded = [(*row, False)[:6] for row in rows]
    schema = {
        "_key": pl.String,
        "_event_time": TIME,
        "_known_at": TIME,
        "who": None,
        "x": None,
        "_tombstone": pl.Boolean,
    }
    return pl.DataFrame(padded, schema=schema, orient="row")


def ask(rows, times, views, who="A", **options):
    queries = pl.DataFrame({"who": [who] * len(times), "at": times}, schema_overrides={"at": TIME})
    return point_in_time(queries, at="at", views=views, history={"t": rows}, **options)


def test_a_window_is_open_at_its_start_and_closed_at_its_end():
    rows = history(("a", hour(0), hour(0), "A", 7.0))
    times = [hour(0) - TICK, hour(0), hour(3) - TICK, hour(3)]
    found = ask(rows, times, [COUNT, LAST])
    assert found["n"].to_list() == [0, 1, 1, 0]
    assert found["last"].to_list() == [None, 7, 7, None]


def test_a_planted_leak_is_not_seen():
    """The row happened at 0 but was known at 2; its value was corrected at 4; it was deleted at 5."""
    rows = history(
        ("a", hour(0), hour(2), "A", 1.0),
        ("a", hour(0), hour(4), "A", 100.0),
        ("a", hour(0), hour(5), None, None, True),
    )
    view = WindowView("t", "who", {"sum": Aggregate("sum", "x", "9h"), "max": Aggregate("max", "x", "9h")})
    found = ask(rows, [hour(time) for time in (0, 1.9, 2, 3.9, 4, 4.9, 5)], [view])
    assert found["sum"].to_list() == [0, 0, 1, 1, 100, 100, 0]
    assert found["max"].to_list() == [None, None, 1, 1, 100, 100, None]
    naive = rows.filter(pl.col("_event_time") <= hour(1.9))["x"].max()
    assert naive == 100.0 != found["sum"][1]


def test_a_correction_moves_a_row_to_another_entity():
    rows = history(("a", hour(0), hour(0), "A", 1.0), ("a", hour(0), hour(1), "B", 2.0))
    for partitions in (1, 2, 5):
        assert ask(rows, [hour(0), hour(1)], [COUNT], who="A", partitions=partitions)["sum"].to_list() == [1, 0]
        assert ask(rows, [hour(0), hour(1)], [COUNT], who="B", partitions=partitions)["sum"].to_list() == [0, 2]


def test_a_payload_column_may_have_any_name():
    rows = history(("a", hour(0), hour(0), "A", 1.0)).rename({"x": "row", "who": "until"})
    view = WindowView("t", "until", {"code": Aggregate("sum", "row", "3h"), "keys": Aggregate("count", "_key", "3h")})
    queries = pl.DataFrame({"until": ["A"], "at": [hour(0)]}, schema_overrides={"at": TIME})
    for partitions in (1, 2):
        found = point_in_time(queries, at="at", views=[view], history={"t": rows}, partitions=partitions)
        assert found.rows() == [(1, 1)]


def test_of_versions_known_together_the_later_row_wins():
    rows = history(("a", hour(0), hour(1), "A", 1.0), ("a", hour(0), hour(1), "A", 2.0))
    assert ask(rows, [hour(1)], [COUNT])["sum"].to_list() == [2]


def test_the_answer_does_not_depend_on_the_order_of_rows_or_queries():
    rng = np.random.default_rng(11)
    count = 3000
    event = rng.integers(0, 200, count)
    rows = pl.DataFrame(
        {
            "_key": [f"k{key}" for key in rng.integers(0, 2000, count)],
            "_event_time": [hour(int(time)) for time in event],
            "_known_at": [START + timedelta(minutes=int(time)) for time in rng.permutation(200 * 60)[:count]],
            "_tombstone": rng.random(count) < 0.05,
            "who": rng.integers(0, 9, count),
            "x": rng.integers(-50, 50, count),
        },
        schema_overrides={"_event_time": TIME, "_known_at": TIME},
    )
    queries = pl.DataFrame(
        {"who": rng.integers(0, 10, 400), "at": [hour(float(time)) for time in rng.random(400) * 220]}
    )
    queries = queries.with_columns(pl.col("at").cast(TIME))
    ops = WindowView(
        "t", "who", {op: Aggregate(op, "x", "40h") for op in ("count", "sum", "mean", "std", "min", "max")}
    )
    views = [ops, LAST, COUNT.__class__("t", "who", {"few": Aggregate("count", "x", "1h")})]
    expected = point_in_time(queries, at="at", views=views, history={"t": rows})
    assert expected["count"].max() > 5
    shuffled = point_in_time(
        queries, at="at", views=views, history={"t": rows.sample(fraction=1, shuffle=True, seed=3)}
    )
    assert shuffled.equals(expected)
    turned = point_in_time(queries.reverse(), at="at", views=views, history={"t": rows.lazy()}, partitions=3)
    assert turned.reverse().equals(expected)
    as_text = queries.with_columns(pl.col("who").cast(pl.String))
    assert point_in_time(as_text, at="at", views=views, history={"t": rows}, partitions=2).equals(expected)


def test_values_are_null_nan_or_infinite_without_being_counted():
    values = [1.0, None, float("nan"), float("inf"), 3.0]
    rows = history(*[(str(place), hour(0), hour(0), "A", value) for place, value in enumerate(values)])
    assert ask(rows, [hour(1)], [COUNT]).row(0) == (2, 4)


def test_latest_text_stays_text_and_whole_numbers_become_floats():
    rows = history(("a", hour(0), hour(0), "A", "snow"), ("b", hour(1), hour(1), "A", None))
    found = ask(rows, [hour(0), hour(1), hour(2), hour(3)], [LAST])
    assert found.schema == {"last": pl.String}
    assert found["last"].to_list() == ["snow", "snow", "snow", None]
    whole = ask(history(("a", hour(0), hour(0), "A", 4)), [hour(0)], [LAST])
    assert whole.schema == {"last": pl.Float64}


def test_no_queries_and_no_history_are_fine():
    empty = history().with_columns(pl.col("who").cast(pl.String), pl.col("x").cast(pl.Float64))
    assert ask(empty, [hour(0)], [COUNT, LAST]).rows() == [(0, 0, None)]
    for partitions in (1, 3):
        assert ask(history(("a", hour(0), hour(0), "A", 1.0)), [], [COUNT, LAST], partitions=partitions).shape == (0, 3)
        assert ask(empty.lazy(), [hour(0)], [COUNT, LAST], partitions=partitions).rows() == [(0, 0, None)]


def test_a_window_far_from_a_large_value_is_exact():
    """A trillion long ago does not take the digits of small windows, nor does it blur a deviation of zero."""
    rows = history(
        ("a", hour(0), hour(0), "A", 1e12), *[(f"b{i}", hour(9 + i / 10), hour(9 + i / 10), "A", 0.1) for i in range(5)]
    )
    view = WindowView("t", "who", {"sum": Aggregate("sum", "x", "3h"), "std": Aggregate("std", "x", "3h")})
    found = ask(rows, [hour(10)], [view])
    assert found["sum"][0] == pytest.approx(0.5, rel=1e-15)
    assert found["std"][0] < 1e-12


def test_a_history_is_restricted_to_what_can_matter():
    rows = history(
        ("old", hour(0), hour(0), "A", 1.0),
        ("young", hour(8), hour(8), "A", 2.0),
        ("moved", hour(0), hour(0), "A", 3.0),
        ("moved", hour(9), hour(9), "A", 3.0),
    )
    assert restrict(rows, COUNT, hour(10))["_key"].to_list() == ["young", "moved", "moved"]
    assert restrict(rows.lazy(), COUNT, hour(3)).collect()["_key"].to_list() == ["young", "moved", "moved"]
    assert restrict(rows, COUNT, hour(3) - TICK).height == 4
    assert restrict(rows, LatestView("t", "who", {"x": "x"}), hour(10)).height == 4


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda rows: rows.drop("x"), "features.column_missing"),
        (lambda rows: rows.drop("_tombstone"), "features.column_missing"),
        (lambda rows: rows.with_columns(x=pl.lit("text")), "features.not_numbers"),
        (lambda rows: rows.with_columns(who=pl.lit(1.5)), "features.not_an_entity"),
        (lambda rows: rows.with_columns(pl.col("_known_at").dt.replace_time_zone(None)), "features.not_a_time"),
        (lambda rows: rows.with_columns(_event_time=pl.lit(None, dtype=TIME)), "features.not_a_time"),
    ],
)
def test_histories_that_cannot_be_read_are_refused(change, code):
    with pytest.raises(InvalidInput) as caught:
        ask(change(history(("a", hour(0), hour(0), "A", 1.0))), [hour(0)], [COUNT])
    assert caught.value.code == code


def test_a_missing_table_and_a_missing_entity_are_named():
    queries = pl.DataFrame({"at": [hour(0)]}, schema_overrides={"at": TIME})
    with pytest.raises(InvalidInput, match="who"):
        point_in_time(queries, at="at", views=[COUNT], history={"t": history()})
    with pytest.raises(NotFound, match="'t'"):
        point_in_time(queries.with_columns(who=pl.lit("A")), at="at", views=[COUNT], history={})
