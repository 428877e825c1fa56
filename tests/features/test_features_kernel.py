"""Sums and maxima over ranges of places, against plain loops and exact fractions."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.features.double_double import exactly, running_sums, squares
from loopline.features.intervals import FOREVER, Intervals, Places, active

finite = st.floats(-1e12, 1e12, allow_subnormal=False).map(lambda value: 0.0 if abs(value) < 1e-6 else value)
SIZE = 37


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, max_size=30))
def test_running_sums_are_exact_to_a_hundred_bits(values):
    sums = running_sums(exactly(np.array(values, dtype=float)))
    for count in range(len(values) + 1):
        true = sum(map(Fraction, values[:count]), Fraction(0))
        size = sum(abs(Fraction(value)) for value in values)
        assert abs(Fraction(sums.high[count]) + Fraction(sums.low[count]) - true) <= size / 2**95


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=10))
def test_products_and_differences_keep_what_cancels(pairs):
    left, right = (np.array(column) for column in zip(*pairs, strict=True))
    found = squares(left).minus(exactly(right).times(exactly(left)))
    for (one, other), high, low in zip(pairs, found.high, found.low, strict=True):
        true = Fraction(one) ** 2 - Fraction(one) * Fraction(other)
        size = Fraction(one) ** 2 + abs(Fraction(one) * Fraction(other))
        assert abs(Fraction(high) + Fraction(low) - true) <= size / 2**98


ranges = st.lists(
    st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE), st.integers(-50, 50)).filter(lambda row: row[0] < row[1]),
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(ranges, st.integers(SIZE, SIZE + 40))
def test_ranges_are_summed_and_their_greatest_found(rows, size):
    first, last, values = (np.array([row[part] for row in rows], dtype=np.int64) for part in range(3))
    intervals = Intervals(first, last, size)
    covering = [[value for low, high, value in rows if low <= place < high] for place in range(size)]
    assert intervals.counts().tolist() == [len(values) for values in covering]
    assert intervals.sums(exactly(values.astype(float))).high.tolist() == [sum(values) for values in covering]
    assert intervals.greatest(values.astype(float)).tolist() == [max(values, default=-np.inf) for values in covering]


def test_more_places_than_sixteen_bits_are_ordered():
    rng = np.random.default_rng(5)
    size = 70_000
    first = rng.integers(0, size, 500)
    last = np.minimum(first + 1 + rng.integers(0, size, 500), size)
    values = rng.integers(-9, 9, 500).astype(float)
    found = Intervals(first, last, size).sums(exactly(values)).high
    for place in rng.integers(0, size, 200):
        assert found[place] == values[(first <= place) & (place < last)].sum()


times = st.integers(0, 12)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 3), times), max_size=15),
    st.lists(st.tuples(st.integers(0, 3), times, st.one_of(times, st.just(FOREVER))), max_size=15),
)
def test_rows_are_active_where_time_and_entity_agree(asked, rows):
    rows = sorted(rows)
    places = Places(*(np.array([pair[part] for pair in asked], dtype=np.int64) for part in range(2)))
    codes, start, end = (np.array([row[part] for row in rows], dtype=np.int64) for part in range(3))
    kept, intervals = active(places, codes, start, end)
    found = places.unsorted(intervals.counts())
    assert found.tolist() == [
        sum(code == whose and begin <= time < stop for whose, begin, stop in rows) for code, time in asked
    ]
    assert kept.sum() == len(intervals.first)


def test_times_and_entities_too_many_for_one_integer_still_sort():
    """Pairs of a million entities and three hundred thousand years do not fit into 63 bits as they are."""
    rng = np.random.default_rng(8)
    codes = np.append(rng.integers(0, 5, 60), 999_999)
    times = np.append(rng.integers(0, 6, 60), 2) * 10**18
    places = Places(codes, times)
    whose, start = np.sort(rng.integers(0, 5, 80)), rng.integers(0, 6, 80) * 10**18
    _, intervals = active(places, whose, start, start + 2 * 10**18)
    found = places.unsorted(intervals.counts())
    for code, time, count in zip(codes, times, found, strict=True):
        assert count == ((whose == code) & (start <= time) & (time < start + 2 * 10**18)).sum()
