import math

import numpy as np
import pytest
from scipy import stats

from loopline.errors import InvalidInput
from loopline.evidence.confidence import asymptotic_sequence, betting_interval, betting_sequence

LAWS = {
    "coin": lambda rng, n: (rng.random(n) < 0.2).astype(float),
    "bell": lambda rng, n: rng.beta(10, 30, n),
    "rare": lambda rng, n: (rng.random(n) < 0.03) * rng.random(n),
}
MEANS = {"coin": 0.2, "bell": 0.25, "rare": 0.015}


@pytest.mark.parametrize("law", LAWS)
def test_the_sequence_covers_the_mean_at_all_times_at_once(law):
    missed = 0
    for seed in range(60):
        lower, upper = betting_sequence(LAWS[law](np.random.default_rng(seed), 300), alpha=0.1, grid=200)
        missed += not np.all((lower <= MEANS[law]) & (MEANS[law] <= upper))
    assert missed <= stats.binom.ppf(0.999, 60, 0.1)


@pytest.mark.parametrize("law", LAWS)
def test_the_interval_covers_the_mean(law):
    missed = 0
    for seed in range(60):
        lower, upper = betting_interval(LAWS[law](np.random.default_rng(seed), 200), alpha=0.1, grid=200)
        missed += not lower <= MEANS[law] <= upper
    assert missed <= stats.binom.ppf(0.999, 60, 0.1)


def test_a_small_variance_makes_it_far_tighter_than_hoeffdings():
    x = LAWS["bell"](np.random.default_rng(1), 1000)
    lower, upper = betting_interval(x)
    assert upper - lower < 0.4 * 2 * math.sqrt(math.log(2 / 0.05) / (2 * 1000))


def test_on_coins_it_is_close_to_the_exact_interval():
    x = LAWS["coin"](np.random.default_rng(4), 2000)
    lower, upper = betting_interval(x)
    exact = stats.binomtest(int(x.sum()), len(x)).proportion_ci()
    assert lower == pytest.approx(exact.low, abs=0.012)
    assert upper == pytest.approx(exact.high, abs=0.012)


def test_bounds_only_tighten():
    lower, upper = betting_sequence(LAWS["coin"](np.random.default_rng(8), 400))
    assert np.all(np.diff(lower) >= 0)
    assert np.all(np.diff(upper) <= 0)


def test_nothing_seen_is_nothing_known():
    assert betting_interval([]) == (0.0, 1.0)


def test_the_asymptotic_one_approaches_a_normal_width_times_its_price():
    x = np.random.default_rng(9).normal(3, 2, 500)
    lower, upper = asymptotic_sequence(x, tuned_for=500)
    normal = 2 * 1.96 * x.std() / math.sqrt(500)
    assert lower[-1] < 3 < upper[-1]
    assert 1.2 < (upper[-1] - lower[-1]) / normal < 1.8


def test_the_asymptotic_one_covers_from_a_good_sample_on():
    missed = 0
    for seed in range(200):
        lower, upper = asymptotic_sequence(np.random.default_rng(seed).exponential(1, 1000), alpha=0.1, tuned_for=100)
        missed += not np.all((lower[50:] <= 1) & (upper[50:] >= 1))
    assert missed <= stats.binom.ppf(0.999, 200, 0.1)


@pytest.mark.parametrize(("x", "alpha"), [([1.2], 0.05), ([np.nan], 0.05), ([[0.1]], 0.05), ([0.5], 0.0), ([0.5], 1.0)])
def test_bad_values_are_refused(x, alpha):
    with pytest.raises(InvalidInput):
        betting_interval(x, alpha)
