"""Blocks, their length, and the stretch of harm in them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.monitoring.block_length import choose_block, choose_block_of, rows_a_block
from loopline.monitoring.episode import find_episode
from loopline.monitoring.lateness import lateness, settled_blocks
from loopline.monitoring.tally import Sums, cut_blocks, cut_parts

DAY = 86_400_000_000


def brute(excess, usual, alarm):
    """The best stretch that holds the alarm, by trying all."""
    best = (-1.0, 0, 0)
    for first in range(alarm + 1):
        for last in range(alarm, len(excess)):
            risen = max((excess[first : last + 1] - usual).sum(), 0.0)
            best = max(best, (risen**2 / (last - first + 1), first, last))
    return best


@given(st.integers(0, 10_000), st.integers(8, 30))
@settings(max_examples=40, deadline=None)
def test_the_episode_is_the_most_likely_stretch(seed, length):
    rng = np.random.default_rng(seed)
    excess = rng.normal(0, 1, length)
    alarm = int(rng.integers(length))
    excess[alarm] += 5
    found = find_episode(excess, 0.0, 1.0, 0.5, alarm)
    _, first, last = brute(excess, 0.0, alarm)
    if found.ended:
        assert (found.first, found.last) == (first, last)
    assert found.earliest <= found.first <= found.latest <= alarm <= found.last


@pytest.mark.parametrize("rise", [1.5, 3.0])
def test_the_onset_is_within_a_block_or_two(rise):
    misses = []
    for seed in range(60):
        excess = np.random.default_rng(seed).normal(0, 1, 60)
        excess[40:] += rise
        found = find_episode(excess, 0.0, 1.0, 0.2, 55)
        assert not found.ended
        misses.append(abs(found.first - 40))
    assert np.quantile(misses, 0.9) <= 2 if rise > 2 else np.median(misses) <= 2


def test_the_likely_range_holds_the_onset():
    held = 0
    for seed in range(200):
        excess = np.random.default_rng(seed).normal(0, 1, 60)
        excess[40:] += 2
        found = find_episode(excess, 0.0, 1.0, 0.2, 55)
        held += found.earliest <= 40 <= found.latest
    assert held / 200 >= 0.93


def test_an_episode_ends_where_blocks_are_as_due_again():
    excess = np.random.default_rng(0).normal(0, 0.1, 60)
    excess[20:30] += 2
    found = find_episode(excess, 0.0, 0.1, 0.2, 24)
    assert (found.first, found.last, found.ended) == (20, 29, True)
    assert not find_episode(excess[:31], 0.0, 0.1, 0.2, 24).ended


def test_blocks_are_cut_at_whole_multiples_and_small_ones_join_the_next():
    at = np.array([1, DAY, DAY + 1, 2 * DAY, 2 * DAY + 5, 5 * DAY, 5 * DAY])
    known = np.array([True, True, True, False, True, True, True])
    found = cut_blocks(at, known, DAY, 2)
    assert found.start.tolist() == [0, DAY, 4 * DAY]
    assert found.end.tolist() == [DAY, 3 * DAY, 5 * DAY]
    assert found.labelled.tolist() == [2, 2, 2]
    assert found.predictions.tolist() == [2, 3, 2]
    np.testing.assert_allclose(found.sums(np.arange(7.0)), [1, 9, 11])


def test_a_small_last_block_is_left_out():
    found = cut_blocks(np.array([1, 2, DAY + 1]), np.array([True, True, True]), DAY, 2)
    assert len(found) == 1
    assert len(cut_blocks(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool), DAY, 2)) == 0


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_blocks_and_their_sums_are_the_same_however_rows_are_parted(seed, part, min_rows):
    rng = np.random.default_rng(seed)
    at, known, values = np.sort(rng.integers(1, 9 * DAY, 50)), rng.random(50) < 0.7, rng.normal(size=50)
    parts = [slice(begin, begin + part) for begin in range(0, 50, part)]
    whole = cut_blocks(at, known, DAY, min_rows)
    cut = cut_parts([(at[one], known[one]) for one in parts], DAY, min_rows)
    for name in ("start", "end", "first", "last", "labelled"):
        assert getattr(cut, name).tolist() == getattr(whole, name).tolist()
    some = whole.part(1)  # rows before, and behind the last, are in no block
    sums = Sums(some)
    for one in parts:
        sums.add(one.start, values[one])
    assert sums.total.tolist() == some.sums(values).tolist()
    each = [values[first:last].sum() for first, last in zip(some.first, some.last, strict=True)]
    np.testing.assert_allclose(sums.total, each)
    pieces = list(whole.whole(50, part))
    assert [place for one in pieces for place in range(one.start, one.stop)] == list(range(50))
    assert not any(
        first < one.start < last for one in pieces for first, last in zip(whole.first, whole.last, strict=True)
    )
    assert sum(len(whole.within(one.start, one.stop)) for one in pieces) == len(whole)


@given(st.integers(0, 10_000), st.integers(300, 4000))
@settings(max_examples=6, deadline=None)
def test_the_length_of_blocks_does_not_depend_on_parts(seed, part):
    rng = np.random.default_rng(seed)
    days = int(rng.choice([2, 9, 30, 100]))
    at, known = np.sort(rng.integers(1, days * DAY, 4000)), rng.random(4000) < 0.9
    rare = rng.random(4000) < 0.2
    pieces = [slice(begin, begin + part) for begin in range(0, 4000, part)]
    parted = choose_block_of(lambda: (at[one][known[one]] for one in pieces), int((known & rare).sum()))
    assert parted == choose_block(at, known, rare)


@pytest.mark.parametrize(
    ("days", "a_day", "rate", "expected"),
    [
        (60, 500, 0.3, "1d"),
        (200, 70, 0.3, "1d"),
        (200, 40, 0.3, "1w"),
        (120, 2000, 0.001, "1w"),
        (1, 20_000, 0.3, "15m"),
        (900, 10, 0.3, "4w"),
    ],
)
def test_the_length_follows_from_the_rows(days, a_day, rate, expected):
    rng = np.random.default_rng(0)
    at = np.sort(rng.integers(0, days * DAY, days * a_day))
    rare = rng.random(len(at)) < rate
    chosen = choose_block(at, np.ones(len(at), dtype=bool), rare)
    assert chosen is not None
    assert chosen.block == expected


def test_too_few_rows_give_no_length():
    assert choose_block(np.arange(100) * DAY, np.ones(100, dtype=bool), np.ones(100, dtype=bool)) is None
    assert rows_a_block(399) is None
    assert rows_a_block(400) == 50
    assert rows_a_block(1_000_000) == 10_000


def test_lateness_is_not_that_of_labels_that_happened_to_come_fast():
    """The newest predictions only have their fast labels; all of them together look too fast."""
    rng = np.random.default_rng(0)
    at = np.sort(rng.integers(0, 40 * DAY, 40_000))
    came = at + rng.exponential(5 * DAY, 40_000).astype(np.int64)
    here = came < 40 * DAY
    found = lateness(at[here], came[here])
    assert found is not None
    assert found.most == pytest.approx(-np.log(0.05) * 5 * 86_400, rel=0.1)
    assert found.early == 0
    assert lateness(at[:10], came[:10]) is None


def test_the_last_blocks_wait_for_their_labels():
    assert settled_blocks([0.9, 0.8, 0.9, 0.85, 0.6, 0.3, 0.1]) == 5
    assert settled_blocks([0.1, 0.9, 0.9]) == 3
    assert settled_blocks([]) == 0
