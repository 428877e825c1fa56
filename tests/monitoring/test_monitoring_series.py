"""A series of numbers, value by value: the promise, what is found, and that it goes on the same wherever it was stopped."""

import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from loopline.errors import InvalidInput
from loopline.evidence.rank_bets import SCALES, SHIFTS
from loopline.monitoring.moved import told
from loopline.monitoring.series import RECENT, SeriesState, watch_series
from loopline.monitoring.usual import LEAST, SAMPLE, chances

APART = 100.0


def watched(values, *, threshold=APART, seed=0, carry=None):
    return watch_series(SeriesState(), values, range(len(values)), threshold=threshold, seed=seed, carry=carry)


def plainly(values, threshold, seed, *, start=0):
    """A second implementation, of values that carry nothing over, up to the first alarm: plain numbers, and the ranks by sorting. Gives its place."""
    kept, bets = [], np.zeros(2 * len(SHIFTS) + len(SCALES))
    for place, value in enumerate(values[start:], start):
        of_equals, of_dropped = chances(seed, place)
        others = len(kept)
        if others and (start or place >= LEAST):
            ordered = sorted(kept)
            below = sum(one < value for one in ordered)
            stands = below + int(of_equals * (sum(one == value for one in ordered) + 1))
            low, high = ndtri(stands / (others + 1)), ndtri((stands + 1) / (others + 1))
            means = [*SHIFTS, *(-shift for shift in SHIFTS)]
            paid = [ndtr(high - mean) - ndtr(low - mean) for mean in means]
            paid += [ndtr(high / scale) - ndtr(low / scale) for scale in SCALES]
            bets = (others + 1) * np.array(paid) * (bets + 1)
        if place > start:
            kept.append(value)
            if len(kept) > SAMPLE:
                kept[int(of_dropped * len(kept))] = kept[-1]
                kept.pop()
        if bets.mean() >= threshold:
            return place
    return None


@pytest.mark.parametrize("seed", range(3))
def test_a_second_implementation_alarms_at_the_same_values(seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(size=260), rng.normal(0.7, 1.5, 150), rng.poisson(1.0, 120)]).tolist()
    _, found = watched(values, seed=seed, carry=0.0)
    start, again = 0, []
    while (place := plainly(values, APART, seed, start=start)) is not None:
        again.append(place)
        start = place + 1
    assert [one.seen for one in found] == again
    assert len(again) >= 2


LAWS = {
    "normal": lambda rng, count: rng.normal(size=count),
    "of two values": lambda rng, count: (rng.random(count) < 0.2).astype(float),
    "heavy": lambda rng, count: rng.standard_t(1.5, size=count),
}


@pytest.mark.parametrize("law", LAWS)
def test_false_alarms_stay_within_what_is_promised(law):
    """Independent values of one law: of T values at most T / A are expected, whatever the law."""
    count, series = 500, 10
    alarms = [
        len(
            watched(LAWS[law](np.random.default_rng([seed, 5]), count).tolist(), threshold=30.0, seed=seed, carry=0.0)[
                1
            ]
        )
        for seed in range(series)
    ]
    error = np.std(alarms) / math.sqrt(series)
    assert 0 < np.mean(alarms) <= count / 30.0 + 3 * error


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 300), max_size=6))
def test_stopped_anywhere_and_read_back_from_json_it_goes_on_the_same(seed, stops):
    rng = np.random.default_rng(seed)
    jump = rng.normal(0, 2) * (np.arange(300) >= 150)
    values = (np.cumsum(rng.normal(size=300)) * (seed % 2) + rng.normal(size=300) + jump).round(1).tolist()
    whole, found = watched(values, threshold=20.0, seed=seed)
    state, parts, bounds = SeriesState(), [], [0, *sorted(stops), len(values)]
    for start, end in pairwise(bounds):
        state, some = watch_series(state, values[start:end], range(start, end), threshold=20.0, seed=seed)
        state = msgspec.json.decode(msgspec.json.encode(state), type=SeriesState)
        parts += some
    assert (state, parts) == (whole, found)
    assert msgspec.json.encode(state) == msgspec.json.encode(whole)


def test_what_is_kept_is_bounded():
    state, _ = watched(np.random.default_rng(3).normal(size=2000).tolist(), threshold=1e9)
    assert (state.seen, len(state.sample), len(state.recent)) == (2000, SAMPLE, RECENT)
    assert len(msgspec.json.encode(state)) < 20_000


@pytest.mark.parametrize(
    ("mean", "spread", "way"), [(3.0, 1.0, "higher"), (-3.0, 1.0, "lower"), (0.0, 3.0, "wider"), (0.0, 0.2, "narrower")]
)
def test_a_move_is_told_once_with_its_way_and_onset_and_then_it_is_usual(mean, spread, way):
    rng = np.random.default_rng(8)
    values = [*rng.normal(10, 1, 150), *rng.normal(10 + mean, spread, 250)]
    state, found = watched(values, threshold=1000.0)
    assert [one.way for one in found] == [way]
    move = found[0]
    assert 150 <= move.seen < 190
    assert move.earliest <= 152
    assert move.latest >= 148
    assert abs(move.onset - 150) <= 8
    assert move.before == pytest.approx(np.mean(values[: move.onset]))
    assert move.after == pytest.approx(np.mean(values[move.onset : move.seen + 1]))
    assert state.sums.count == len(values) - move.seen - 1
    assert (f"{way} (" if spread == 1 else "times as much") in told(move, "it", str)


def test_level_after_level_each_is_told():
    rng = np.random.default_rng(2)
    levels = [0, 5, 10, 5, -5]
    values = np.concatenate([rng.normal(level, 1, 80) for level in levels]).tolist()
    _, found = watched(values, threshold=1000.0)
    assert [one.way for one in found] == ["higher", "higher", "lower", "lower"]
    assert [one.earliest <= 80 * number <= one.latest for number, one in enumerate(found, 1)] == [True] * 4


def test_a_walk_is_no_endless_alarm_and_the_slope_of_one_is_told():
    rng = np.random.default_rng(6)
    walk = np.cumsum(rng.normal(size=600))
    assert len(watched(walk.tolist(), threshold=1000.0)[1]) <= 1
    walk[400:] += 2.0 * np.arange(1, 201)
    moved = watched(walk.tolist(), threshold=1000.0)[1][-1]
    assert (moved.way, moved.of, moved.carry) == ("higher", "steps", 1.0)
    assert abs(moved.onset - 400) <= 4
    assert moved.after == pytest.approx(2.0, abs=1.0)


def test_what_never_changes_is_usual_until_it_does():
    state, found = watched([7.0] * 300, threshold=1000.0)
    assert (found, state.process.alarms(1000.0)) == ([], False)
    assert [one.onset for one in watched([7.0] * 300 + [8.0] * 10, threshold=1000.0)[1]] == [300]


@pytest.mark.parametrize(
    ("values", "threshold", "carry"), [([math.nan], 10.0, None), ([1.0], 0.5, None), ([1.0], 10.0, 1.5)]
)
def test_what_cannot_be_watched_is_refused(values, threshold, carry):
    with pytest.raises(InvalidInput) as refused:
        watched(values, threshold=threshold, carry=carry)
    assert refused.value.code == "monitor.series"


def _autoregression(carry, rng, count):
    x = [0.0]
    for noise in rng.normal(size=count + 300):
        x.append(carry * x[-1] + noise)
    return np.array(x[-count:])


@pytest.mark.heavy
@pytest.mark.parametrize(
    "law",
    [
        lambda rng, count: rng.normal(size=count),
        lambda rng, count: rng.standard_t(3, size=count),
        lambda rng, count: rng.poisson(2.0, size=count).astype(float),
        lambda rng, count: _autoregression(0.3, rng, count),
        lambda rng, count: _autoregression(0.5, rng, count),
        lambda rng, count: _autoregression(0.7, rng, count),
        lambda rng, count: _autoregression(0.9, rng, count),
        lambda rng, count: _autoregression(0.95, rng, count),
        lambda rng, count: np.cumsum(rng.normal(size=count)),
        lambda rng, count: np.cumsum(rng.standard_t(3, size=count)),
    ],
    ids=["normal", "t3", "counts", "ar0.3", "ar0.5", "ar0.7", "ar0.9", "ar0.95", "walk", "walk of t3"],
)
def test_where_what_is_carried_over_is_learnt_false_alarms_stay_within_the_promise_too(law):
    count, series = 4000, 30
    alarms = [
        len(watched(law(np.random.default_rng([seed, 17]), count).tolist(), threshold=365.0, seed=seed)[1])
        for seed in range(series)
    ]
    error = np.std(alarms) / math.sqrt(series)
    assert np.mean(alarms) <= count / 365.0 + 2 * error
