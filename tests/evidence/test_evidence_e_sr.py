import math
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.evidence.e_sr import ESR, STAKES, step, update

M = 0.3


def two_points(rng, paths, steps):
    return (rng.random((paths, steps)) < M).astype(float)


def rare_and_large(rng, paths, steps):
    return np.where(rng.random((paths, steps)) < M / 0.98, 0.98, 0.0)


def many_small(rng, paths, steps):
    return rng.beta(3, 7, (paths, steps))


def day_means(rng, paths, steps):
    """Means of 20 rows that share their day's rate."""
    return rng.binomial(20, rng.beta(6, 14, (paths, steps))) / 20


def volatile(rng, paths, steps):
    """The law depends on the past, its mean does not."""
    x = np.empty((paths, steps))
    x[:, 0] = M
    for t in range(1, steps):
        wild = x[:, t - 1] > M
        x[:, t] = np.where(wild, rng.random(paths) < M, rng.beta(30, 70, paths))
    return x


def false_alarms(x, m, threshold):
    """A second implementation, in the plain numbers of the paper, over many paths at once."""
    stakes = np.array(STAKES)[:, None] / m
    evidence, alarms = np.zeros((len(STAKES), len(x))), np.zeros(len(x))
    for column in x.T:
        evidence = (1 + stakes * (column - m)) * (evidence + 1)
        alarmed = evidence.mean(axis=0) >= threshold
        alarms += alarmed
        evidence[:, alarmed] = 0
    return alarms


@pytest.mark.parametrize("law", [two_points, rare_and_large, many_small, day_means, volatile])
@pytest.mark.parametrize("threshold", [10, 50])
def test_expected_false_alarms_stay_within_the_budget(law, threshold):
    steps, paths = 500, 1000
    alarms = false_alarms(law(np.random.default_rng([threshold, 1]), paths, steps), M, threshold)
    error = alarms.std() / math.sqrt(paths)
    assert alarms.mean() <= steps / threshold + 3 * error


def test_the_budget_is_used_and_not_wasted():
    """The bound is nearly an equality, up to what an alarm overshoots and what is left at the end."""
    alarms = false_alarms(two_points(np.random.default_rng(5), 1000, 2000), M, 20)
    assert 0.6 * 2000 / 20 <= alarms.mean() <= 2000 / 20


def test_rows_of_a_cluster_break_the_promise_and_their_means_keep_it():
    """Why blocks are fed and not rows: within a day the mean given the past is not the mean."""
    rng = np.random.default_rng(11)
    days = rng.beta(6, 14, (400, 100))
    rows = (rng.random((400, 100, 20)) < days[:, :, None]).astype(float)
    by_row = false_alarms(rows.reshape(400, -1), M, 200).mean()
    by_day = false_alarms(rows.mean(axis=2), M, 10).mean()
    assert by_row > 100 * 20 / 200
    assert by_day <= 100 / 10


def test_a_rise_is_seen_soon_after_it_comes():
    rng = np.random.default_rng(2)
    state, alarms = ESR(), []
    for t in range(600):
        state, alarmed = step(state, rng.beta(3, 7) if t < 400 else rng.beta(5, 5), M, 1000)
        alarms += [t] if alarmed else []
    assert not [t for t in alarms if t < 400]
    assert alarms[0] < 425


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_the_state_is_the_mixture_of_the_paper_in_logs(xs, m):
    exact = [Fraction(0)] * len(STAKES)
    state = ESR()
    for x in xs:
        state = update(state, x, m)
        bets = [1 + Fraction(share) * (Fraction(x) - Fraction(m)) / Fraction(m) for share in STAKES]
        exact = [factor * (evidence + 1) for factor, evidence in zip(bets, exact, strict=True)]
    assert state.log_evidence == pytest.approx(math.log(1 + float(sum(exact) / len(exact))), rel=1e-9, abs=1e-12)


def test_an_alarm_starts_again_from_nothing():
    state = ESR()
    for _ in range(100):
        state, alarmed = step(state, 1.0, 0.5, 5.0)
        if alarmed:
            assert state == ESR()
            assert state.log_evidence == 0
            return
    pytest.fail("a constant excess was never seen")


def test_evidence_never_overflows():
    state = ESR()
    for _ in range(10_000):
        state = update(state, 1.0, 0.01)
    assert math.isfinite(state.log_evidence)
    assert state.alarms(1e300)


def test_json_brings_the_state_back_exactly():
    state = ESR()
    for x in (0.9, 0.1, 0.7, 0.0):
        state = update(state, x, M)
        assert msgspec.json.decode(msgspec.json.encode(state), type=ESR) == state


@pytest.mark.parametrize(("x", "m"), [(-0.1, 0.5), (1.1, 0.5), (float("nan"), 0.5), (0.5, 0.0), (0.5, 1.0)])
def test_values_out_of_range_are_refused(x, m):
    with pytest.raises(InvalidInput):
        update(ESR(), x, m)
