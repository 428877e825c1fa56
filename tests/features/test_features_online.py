from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from loopline.errors import InvalidInput, NotFound
from loopline.features import online as online_module
from loopline.features.definitions import Aggregate, LatestView, WindowView
from loopline.features.online import OnlineFeatures
from loopline.features.point_in_time import point_in_time
from loopline.features.scratch import Scratch

START = datetime(2024, 3, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
SUMS = WindowView("t", "who", {"n": Aggregate("count", "x", "3h"), "sum": Aggregate("sum", "x", "3h")})
LAST = LatestView("t", "who", {"last": "x", "text": "s"}, max_age="2h")
VIEWS = [SUMS, LAST]


def hour(number):
    return START + timedelta(hours=number)


def history(*rows):
    """Rows of key, event = known, entity, x, s."""
    return pl.DataFrame(
        [(key, event, event, False, who, x, s) for key, event, who, x, s in rows],
        schema={
            "_key": pl.String, "_event_time": TIME, "_known_at": TIME, "_tombstone": pl.Boolean,
            "who": pl.String, "x": pl.Float64, "s": pl.String,
        },
        orient="row",
    )  # fmt: skip


@pytest.fixture
def store():
    return Scratch()


@pytest.fixture
def online(store):
    online = OnlineFeatures(store)
    rows = history(("a", hour(0), "A", 1.0, "p"), ("b", hour(1), "A", 2.0, "q"), ("c", hour(1), "B", 5.0, None))
    online.update(VIEWS, "t", rows, horizon=START)
    return online


def test_it_reads_each_row_at_its_own_time(online):
    rows = [{"who": "A"}, {"who": "A"}, {"who": "B"}, {"who": "nobody"}, {"who": None}, {}]
    found = online.read(VIEWS, rows, [hour(0), hour(2), hour(4), hour(2), hour(2), hour(2)])
    assert found == {
        "n": [1, 2, 0, 0, 0, 0],
        "sum": [1, 3, 0, 0, 0, 0],
        "last": [1, 2, None, None, None, None],
        "text": ["p", "q", None, None, None, None],
    }
    assert online.read(VIEWS, [], []) == {"n": [], "sum": [], "last": [], "text": []}


def test_it_says_how_fresh_it_is(online):
    assert online.freshness(SUMS) == hour(1)
    assert online.freshness(WindowView("t", "who", {"n": Aggregate("count", "x", "4h")})) is None
    online.update(VIEWS, "t", history(("d", hour(0.5), "A", 1.0, None)), horizon=START)
    assert online.freshness(SUMS) == hour(1)


def test_what_expired_is_dropped_even_where_no_row_arrives(online, store):
    online.update(VIEWS, "t", history(("z", hour(9), "Z", 1.0, "z")), horizon=hour(9))
    held = b"".join(store.values)
    assert b"=Z" in held
    assert b"=A" not in held
    assert b"=a" not in held


def test_a_moment_before_the_horizon_is_refused(online):
    online.prune(VIEWS, horizon=hour(1.5))
    assert online.read(VIEWS, [{"who": "A"}], [hour(1.5)])["sum"] == [3]
    with pytest.raises(InvalidInput) as caught:
        online.read(VIEWS, [{"who": "A"}], [hour(1)])
    assert caught.value.code == "features.before_horizon"


def test_an_erased_entity_leaves_nothing_behind():
    """Nor where a correction moved its row to another entity."""
    store = Scratch()
    online = OnlineFeatures(store)
    rows = history(("a", hour(0), "alice", 1.0, "p"), ("b", hour(1), "bob", 5.0, None))
    moved = history(("b", hour(1), "carol", 5.0, None)).with_columns(_known_at=pl.lit(hour(1.2), dtype=TIME))
    online.update(VIEWS, "t", pl.concat([rows, moved]), horizon=START)
    online.erase(VIEWS, "alice")
    online.erase(VIEWS, "bob")
    everything = b"".join([*store.values, *store.values.values()])
    assert b"carol" in everything
    assert b"alice" not in everything
    assert b"bob" not in everything
    assert online.read(VIEWS, [{"who": "alice"}, {"who": "carol"}], [hour(2)] * 2)["sum"] == [0, 5]


def test_bad_rows_change_nothing(online, store):
    before = dict(store.values)
    good = history(("d", hour(2), "A", 1.0, "p"))
    for bad in (good.drop("x"), good.with_columns(who=pl.lit(0.5)), good.with_columns(x=pl.lit("text"))):
        with pytest.raises(InvalidInput):
            online.update(VIEWS, "t", bad, horizon=START)
    assert store.values == before


def test_other_tables_and_no_rows_change_nothing(online, store):
    before = dict(store.values)
    online.update(VIEWS, "other", history(("d", hour(2), "A", 1.0, "p")), horizon=hour(1))
    online.update(VIEWS, "t", history(), horizon=START)
    assert store.values == before


def test_long_names_and_whole_numbers_are_entities():
    online = OnlineFeatures(Scratch())
    name = "x" * 2000
    online.update(VIEWS, "t", history((name, hour(0), name, 1.0, "p"), ("b", hour(0), "7", 2.0, "p")), horizon=START)
    assert online.read([SUMS], [{"who": name}, {"who": 7}, {"who": "7"}], [hour(0)] * 3)["sum"] == [1, 2, 2]
    with pytest.raises(InvalidInput, match=r"not_an_entity"):
        online.read([SUMS], [{"who": 7.5}], [hour(0)])


def test_rebuilding_replaces_what_was_there(online, store):
    rows = history(("a", hour(0), "A", 10.0, "new"))
    online.rebuild(VIEWS, {"t": rows}, horizon=START)
    fresh = Scratch()
    OnlineFeatures(fresh).update(VIEWS, "t", rows, horizon=START)
    assert store.values == fresh.values


def test_rebuilding_goes_by_batches_and_forgets_what_is_old(monkeypatch):
    monkeypatch.setattr(online_module, "_BATCH", 30)
    rng = np.random.default_rng(3)
    count = 400
    event = rng.integers(0, 30, count)
    rows = pl.DataFrame(
        {
            "_key": [f"k{key}" for key in rng.integers(0, 150, count)],
            "_event_time": [hour(int(time)) for time in event],
            "_known_at": [hour(int(time)) for time in event + rng.integers(0, 4, count)],
            "_tombstone": rng.random(count) < 0.1,
            "who": rng.choice(["A", "B", "C"], count),
            "x": rng.integers(0, 9, count).astype(float),
            "s": rng.choice(["p", "q"], count),
        },
        schema_overrides={"_event_time": TIME, "_known_at": TIME},
    )
    store = Scratch()
    online = OnlineFeatures(store)
    online.rebuild(VIEWS, {"t": rows.lazy()}, horizon=hour(28))
    queries = [{"who": who, "at": hour(28 + quarter / 4)} for who in "ABC" for quarter in range(24)]
    frame = pl.DataFrame(queries, schema_overrides={"at": TIME})
    expected = point_in_time(frame, at="at", views=VIEWS, history={"t": rows})
    found = online.read(VIEWS, queries, frame["at"].to_list())
    assert pl.DataFrame(found).select(expected.columns).equals(expected)
    assert online.freshness(SUMS) == rows["_known_at"].max()
    filed = sum(len(key) > len(b"features/") + 17 for key in store.values)
    assert filed < count / 2
    online.rebuild(VIEWS, {"t": rows}, horizon=hour(100))
    assert online.read(VIEWS, queries[:1], [hour(100)]) == {"n": [0], "sum": [0], "last": [None], "text": [None]}
    assert online.freshness(SUMS) == rows["_known_at"].max()
    with pytest.raises(NotFound, match="'t'"):
        online.rebuild(VIEWS, {}, horizon=START)
