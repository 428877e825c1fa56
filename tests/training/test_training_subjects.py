"""The rows a model answers for, against asking at every moment what was in force."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.training.subjects import known_at_their_time
from loopline.values import Window

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIME = pl.Datetime("us", "UTC")
SCHEMA = {"_key": pl.String, "_known_at": TIME, "_tombstone": pl.Boolean, "departs": TIME, "note": pl.Int64}
LAST = 14

VERSIONS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, LAST),
        st.sampled_from([False, False, False, True]),
        st.one_of(st.none(), st.integers(0, LAST)),
    ),
    max_size=18,
)


def history(versions) -> pl.DataFrame:
    rows = [
        (key, T0 + known * HOUR, gone, None if at is None else T0 + at * HOUR, place)
        for place, (key, known, gone, at) in enumerate(versions)
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def asked_at_every_hour(versions) -> dict[str, tuple[int, int]]:
    """Key to (hour, place of the version): at each hour, which version of the key is in force, and is this its hour?"""
    found: dict[str, tuple[int, int]] = {}
    for hour in range(LAST + 1):
        for key in ("a", "b", "c"):
            known = [
                (version[1], place)
                for place, version in enumerate(versions)
                if version[0] == key and version[1] <= hour
            ]
            if not known or key in found:
                continue
            place = max(known)[1]
            if versions[place][3] == hour and not versions[place][2]:
                found[key] = (hour, place)
    return found


@given(versions=VERSIONS)
@settings(deadline=None, max_examples=120)
def test_each_key_is_answered_for_once_as_it_was_known_then(versions):
    found = known_at_their_time(history(versions), at="departs")
    expected = asked_at_every_hour(versions)
    assert dict(zip(found["_key"], found["note"], strict=True)) == {key: place for key, (_, place) in expected.items()}
    order = list(zip(found["departs"], found["_key"], strict=True))
    assert order == sorted(order)


@given(versions=VERSIONS, start=st.integers(0, LAST - 1), length=st.integers(1, LAST))
@settings(deadline=None, max_examples=50)
def test_a_window_takes_its_part_of_the_whole(versions, start, length):
    whole = known_at_their_time(history(versions), at="departs")
    window = Window(T0 + start * HOUR, T0 + (start + length) * HOUR)
    part = known_at_their_time(history(versions), at="departs", window=window)
    assert part["note"].to_list() == [
        note for note, at in zip(whole["note"], whole["departs"], strict=True) if at in window
    ]


@given(versions=VERSIONS, cut=st.integers(1, LAST))
@settings(deadline=None, max_examples=50)
def test_windows_side_by_side_answer_for_each_key_once(versions, cut):
    rows = history(versions)
    first = Window(T0 - HOUR, T0 + cut * HOUR)
    second = Window(T0 + cut * HOUR, T0 + (LAST + 1) * HOUR)
    parts = [known_at_their_time(rows, at="departs", window=window)["note"].to_list() for window in (first, second)]
    assert [*parts[0], *parts[1]] == known_at_their_time(rows, at="departs")["note"].to_list()


def test_what_is_known_only_afterwards_is_not_answered_for():
    assert known_at_their_time(history([("a", 5, False, 4)]), at="departs").height == 0
    assert known_at_their_time(history([("a", 5, False, 5)]), at="departs").height == 1


def test_a_departure_that_is_moved_before_it_comes_counts_at_its_new_time():
    found = known_at_their_time(history([("a", 0, False, 6), ("a", 3, False, 9)]), at="departs")
    assert found["departs"].to_list() == [T0 + 9 * HOUR]


def test_a_departure_that_is_moved_after_it_came_counts_at_its_first_time():
    found = known_at_their_time(history([("a", 0, False, 6), ("a", 7, False, 9)]), at="departs")
    assert found["departs"].to_list() == [T0 + 6 * HOUR]


def test_a_departure_that_is_cancelled_in_time_is_none():
    assert known_at_their_time(history([("a", 0, False, 6), ("a", 6, True, 6)]), at="departs").height == 0
    assert known_at_their_time(history([("a", 0, False, 6), ("a", 7, True, 6)]), at="departs").height == 1
    assert (
        known_at_their_time(history([("a", 0, False, 6), ("a", 3, True, 6), ("a", 5, False, 6)]), at="departs").height
        == 1
    )
