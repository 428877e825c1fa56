"""Offline, offline in parts, and online give the same number: the one that the definition gives, counted by hand."""

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.features.definitions import Aggregate, LatestView, WindowView
from loopline.features.online import OnlineFeatures
from loopline.features.point_in_time import point_in_time, restrict
from loopline.features.scratch import Scratch
from loopline.storage.key_values import open_key_values
from loopline.values import duration

START = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 14
OPS = ("count", "sum", "mean", "std", "min", "max")
WINDOWS = WindowView(
    "t",
    "who",
    {f"{op}_n_3h": Aggregate(op, "n", "3h") for op in OPS}
    | {f"{op}_x_5h": Aggregate(op, "x", "5h") for op in OPS}
    | {"texts": Aggregate("count", "s", "4h")},
)
LATEST = LatestView("t", "who", {"last_n": "n", "last_x": "x", "last_s": "s"}, max_age="4h")
EVER = LatestView("t", "who", {"ever_n": "n", "ever_s": "s"})
VIEWS = [WINDOWS, LATEST, EVER]
SCHEMA = {
    "_key": pl.String,
    "_event_time": pl.Datetime("us", "UTC"),
    "_known_at": pl.Datetime("us", "UTC"),
    "_tombstone": pl.Boolean,
    "who": pl.String,
    "n": pl.Int64,
    "x": pl.Float64,
    "s": pl.String,
}


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


def counted(value):
    return value is not None and (not isinstance(value, float) or math.isfinite(value))


def valid_rows(rows, entity, at):
    """The rows of an entity as known at a moment: per key its last known version, unless that is a tombstone."""
    newest = {}
    for row in rows:
        known = row["_known_at"]
        if known <= at and (row["_key"] not in newest or known >= newest[row["_key"]]["_known_at"]):
            newest[row["_key"]] = row
    return [
        row
        for row in newest.values()
        if not row["_tombstone"] and entity is not None and row["who"] == entity and row["_event_time"] <= at
    ]


def aggregate_of(op, values):
    exact = [Fraction(value) for value in values]
    count = len(exact)
    if op == "count":
        return float(count)
    if op == "sum":
        return float(sum(exact))
    if count == 0 or (op == "std" and count == 1):
        return None
    if op == "mean":
        return float(sum(exact) / count)
    if op == "std":
        return math.sqrt((count * sum(value * value for value in exact) - sum(exact) ** 2) / (count * (count - 1)))
    return float(max(exact) if op == "max" else min(exact))


def by_definition(view, rows, entity, at):
    rows = valid_rows(rows, entity, at)
    answer = {}
    if isinstance(view, WindowView):
        for name, use in view.features.items():
            inside = [row for row in rows if row["_event_time"] > at - duration(use.over)]
            values = [row[use.column] for row in inside if counted(row[use.column])]
            answer[name] = float(len(values)) if use.op == "count" else aggregate_of(use.op, values)
        return answer
    for name, column in view.features.items():
        young = [row for row in rows if view.max_age is None or row["_event_time"] > at - duration(view.max_age)]
        young = [row for row in young if counted(row[column])]
        best = max(young, key=lambda row: (row["_event_time"], row["_known_at"], row["_key"]), default=None)
        value = None if best is None else best[column]
        answer[name] = float(value) if isinstance(value, int) else value
    return answer


def all_by_definition(rows, queries):
    return [
        {name: value for view in VIEWS for name, value in by_definition(view, rows, query["who"], query["at"]).items()}
        for query in queries
    ]


whole = st.integers(-3, 3)
rows_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "_key": st.sampled_from("abcde"),
            "_event_time": st.integers(0, HOURS).map(hour),
            "_known_at": st.integers(0, HOURS).map(hour),
            "_tombstone": st.sampled_from([False, False, False, True]),
            "who": st.sampled_from(["A", "A", "B", None]),
            "n": st.one_of(st.none(), whole),
            "x": st.one_of(st.none(), st.sampled_from([math.nan, math.inf]), whole.map(float)),
            "s": st.sampled_from([None, "p", "q", "r"]),
        }
    ),
    max_size=14,
)
queries_strategy = st.lists(
    st.fixed_dictionaries({"who": st.sampled_from(["A", "B", "C", None]), "at": st.integers(0, HOURS + 6).map(hour)}),
    min_size=1,
    max_size=8,
)


def history_frame(rows):
    return pl.DataFrame(rows, schema=SCHEMA)


def query_frame(queries):
    return pl.DataFrame(queries, schema={"who": pl.String, "at": pl.Datetime("us", "UTC")})


def read(online, queries):
    columns = online.read(VIEWS, queries, [query["at"] for query in queries])
    return [{name: values[place] for name, values in columns.items()} for place in range(len(queries))]


@settings(max_examples=150, deadline=None)
@given(rows_strategy, queries_strategy)
def test_offline_is_the_definition(rows, queries):
    found = point_in_time(query_frame(queries), at="at", views=VIEWS, history={"t": history_frame(rows)})
    assert found.to_dicts() == all_by_definition(rows, queries)


@settings(max_examples=10, deadline=None)
@given(rows_strategy, queries_strategy, st.integers(1, 4), st.booleans())
def test_offline_in_parts_and_lazy_is_the_definition(rows, queries, partitions, lazy):
    history = history_frame(rows)
    found = point_in_time(
        query_frame(queries),
        at="at",
        views=VIEWS,
        history={"t": history.lazy() if lazy else history},
        partitions=partitions,
    )
    assert found.to_dicts() == all_by_definition(rows, queries)


@settings(max_examples=12, deadline=None)
@given(rows_strategy, queries_strategy, st.integers(0, HOURS))
def test_a_restricted_history_answers_the_same(rows, queries, since):
    queries = [query for query in queries if query["at"] >= hour(since)]
    for view in VIEWS:
        cut = restrict(history_frame(rows), view, hour(since))
        found = point_in_time(query_frame(queries), at="at", views=[view], history={"t": cut})
        assert found.to_dicts() == [by_definition(view, rows, query["who"], query["at"]) for query in queries]


@settings(max_examples=60, deadline=None)
@given(rows_strategy, queries_strategy, st.randoms(use_true_random=False), st.integers(2, 6))
def test_online_in_any_order_is_the_definition(rows, queries, random, size):
    """Rows shuffled, delivered in batches, each batch twice."""
    order = list(range(len(rows)))
    random.shuffle(order)
    versions = {}
    for place in sorted(order):
        versions.setdefault((rows[place]["_key"], rows[place]["_known_at"]), []).append(place)
    ranks = {key: iter(places) for key, places in versions.items()}  # equal known times: their order decides
    order = [next(ranks[rows[place]["_key"], rows[place]["_known_at"]]) for place in order]
    online = OnlineFeatures(Scratch())
    for start in range(0, len(order), size):
        batch = history_frame([rows[place] for place in order[start : start + size]])
        online.update(VIEWS, "t", batch, horizon=START)
        online.update(VIEWS, "t", batch, horizon=START)
    assert read(online, queries) == all_by_definition(rows, queries)


@settings(max_examples=60, deadline=None)
@given(rows_strategy, queries_strategy, st.integers(2, 6))
def test_online_under_a_moving_horizon_is_the_definition(rows, queries, size):
    """Rows as they become known, and the horizon behind them; then all of them once more; then built from nothing."""
    rows = sorted(rows, key=lambda row: row["_known_at"])
    online = OnlineFeatures(Scratch())
    for again in range(2):
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            horizon = hour(HOURS) if again else batch[-1]["_known_at"]
            online.update(VIEWS, "t", history_frame(batch), horizon=horizon)
        last = hour(HOURS) if again else max((row["_known_at"] for row in rows), default=START)
        asked = [query for query in queries if query["at"] >= last]
        assert read(online, asked) == all_by_definition(rows, asked)
    online.rebuild(VIEWS, {"t": history_frame(rows)}, horizon=START)
    assert read(online, queries) == all_by_definition(rows, queries)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-(10**12), 10**12).map(lambda value: value / 1e6), st.integers(0, 40), st.integers(0, 3)),
        min_size=1,
        max_size=30,
    ),
    st.lists(st.integers(0, 50), min_size=1, max_size=5),
)
def test_floats_are_exact_to_the_last_digits(values, times):
    """Any floats, one a million times the size of the rest among them: to 12 digits, or 15 of the size of the data."""
    rows = [
        {
            "_key": str(place), "_event_time": hour(event), "_known_at": hour(event + late), "_tombstone": False,
            "who": "A", "n": None, "x": value * (1e6 if place == 0 else 1.0), "s": None,
        }
        for place, (value, event, late) in enumerate(values)
    ]  # fmt: skip
    size = max(abs(row["x"]) for row in rows)
    queries = [{"who": "A", "at": hour(time)} for time in times]
    expected = [by_definition(WINDOWS, rows, "A", hour(time)) for time in times]
    offline = point_in_time(query_frame(queries), at="at", views=[WINDOWS], history={"t": history_frame(rows)})
    online = OnlineFeatures(Scratch())
    online.rebuild([WINDOWS], {"t": history_frame(rows)}, horizon=START)
    columns = online.read([WINDOWS], queries, [hour(time) for time in times])
    for place, answer in enumerate(expected):
        for name, value in answer.items():
            for found in (offline[name][place], columns[name][place]):
                assert (found is None) == (value is None)
                assert value is None or found == pytest.approx(value, rel=1e-12, abs=1e-15 * size)


def test_lmdb_holds_the_same(tmp_path):
    store = open_key_values(tmp_path / "online", durable=False)
    online = OnlineFeatures(store)
    rows = [
        {
            "_key": f"k{place % 40}", "_event_time": hour(place % 11), "_known_at": hour(place % 13), "_tombstone": place % 9 == 0,
            "who": "AB"[place % 2], "n": place % 7, "x": place / 7, "s": "pqr"[place % 3],
        }
        for place in range(120)
    ]  # fmt: skip
    for start in range(0, len(rows), 30):
        online.update(VIEWS, "t", history_frame(rows[start : start + 30]), horizon=START)
    queries = [{"who": who, "at": hour(at)} for who in ("A", "B") for at in range(20)]
    offline = point_in_time(query_frame(queries), at="at", views=VIEWS, history={"t": history_frame(rows)})
    assert read(online, queries) == offline.to_dicts()
    store.close()
