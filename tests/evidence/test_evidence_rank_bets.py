import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from loopline.evidence.rank_bets import BETS, SCALES, SHIFTS, log_payoffs, score


@settings(max_examples=25)
@given(st.integers(1, 200))
def test_every_bet_pays_one_in_the_mean_over_all_places(others):
    paid = np.exp([log_payoffs(position, others) for position in range(others + 1)])
    assert paid.mean(axis=0) == pytest.approx(np.ones(len(BETS)), abs=1e-12)


@pytest.mark.parametrize(("position", "others"), [(0, 1), (0, 9), (4, 9), (9, 9), (150, 200), (200, 200)])
def test_a_bet_pays_the_mean_ratio_of_the_densities_over_its_place(position, others):
    """Again by quadrature of the densities between the ends of the place."""
    low, high = np.clip(norm.ppf([position / (others + 1), (position + 1) / (others + 1)]), -12, 12)
    laws = [(shift, 1.0) for shift in (*SHIFTS, *(-shift for shift in SHIFTS))] + [(0.0, scale) for scale in SCALES]
    mass = [quad(norm(*law).pdf, low, high, epsabs=1e-13)[0] for law in laws]
    assert np.exp(log_payoffs(position, others)) == pytest.approx((others + 1) * np.array(mass), rel=1e-4, abs=1e-9)


def test_high_places_pay_for_higher_and_far_ones_for_wider():
    best = {BETS[int(np.argmax(log_payoffs(position, 100)))] for position in (99, 100)}
    assert best == {"higher"}
    assert BETS[int(np.argmax(log_payoffs(50, 100)))] == "narrower"
    assert log_payoffs(100, 100)[BETS.index("wider")] > 0 > log_payoffs(50, 100)[BETS.index("wider")]


def test_the_score_is_that_of_the_middle_of_the_place():
    assert score(0, 1) == pytest.approx(-score(1, 1))
    assert score(2, 4) == pytest.approx(0.0, abs=1e-15)
    assert score(3, 4) == pytest.approx(norm.ppf(0.7))
    assert math.isfinite(score(200, 200))
