"""Expected costs, named thresholds and trials of decisions, against all decisions there are."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from loopline.decisions.expected import at_threshold, expected_costs, smoke_test
from loopline.decisions.policy import Decision, costs, fit
from loopline.errors import InvalidInput, Unavailable

prices = st.floats(0.05, 20)
few = hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(0, 1))


def by_hand(decision: Decision, taken: str, p: float) -> float:
    return {
        "positive": decision.false_positive * (1 - p),
        "negative": decision.false_negative * p,
        "abstain": decision.review,
    }[taken]


@settings(deadline=None, max_examples=150)
@given(prices, prices, st.floats(0, 1), few)
def test_no_threshold_and_no_band_of_all_that_are_allowed_is_cheaper(fp, fn, share, scores):
    """Brute force: every split of the ordered rows into negative, abstaining and positive, with as many abstaining as may."""
    spec = costs(fp, fn, abstain_at_most=share)
    decision = fit(spec, scores)
    taken = decision.decide(scores)
    got = expected_costs(decision, taken, scores).sum()
    ordered = np.sort(scores)
    allowed = int(share * len(scores))
    best = min(
        sum(fn * p for p in ordered[:low]) + spec.review * (high - low) + sum(fp * (1 - p) for p in ordered[high:])
        for low, high in itertools.combinations_with_replacement(range(len(scores) + 1), 2)
        if high - low <= allowed
    )
    # Rows of one score stand or fall together, so with ties the fitted band may hold fewer.
    if len(set(scores.tolist())) == len(scores):
        assert got == pytest.approx(best, abs=1e-9)
    assert got >= best - 1e-9


@settings(deadline=None, max_examples=100)
@given(prices, prices, few, st.floats(0, 1))
def test_expected_costs_are_those_of_each_action(fp, fn, scores, threshold):
    decision = at_threshold(costs(fp, fn), threshold)
    taken = decision.decide(scores)
    by_row = [by_hand(decision, one, p) for one, p in zip(taken.tolist(), scores.tolist(), strict=True)]
    assert expected_costs(decision, taken, scores).tolist() == pytest.approx(by_row)
    assert (taken == "positive").tolist() == (scores >= threshold).tolist()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), prices, prices)
def test_where_scores_are_calibrated_the_expected_cost_is_the_mean_of_the_real_one(seed, fp, fn):
    rng = np.random.default_rng(seed)
    scores = rng.random(20_000)
    labels = (rng.random(20_000) < scores).astype(float)
    decision = fit(costs(fp, fn, abstain_at_most=0.1), scores)
    taken = decision.decide(scores)
    real = decision.cost(taken, labels)
    assert real.mean() == pytest.approx(
        expected_costs(decision, taken, scores).mean(), abs=6 * real.std() / 20_000**0.5 + 1e-9
    )


def test_a_decision_that_abstains_too_often_or_is_in_no_order_is_not_put_in_force():
    decision = Decision(1, 4, 0.5, 0.2, 0.1, 0.5)
    with pytest.raises(Unavailable, match=r"66\.7 %"):
        smoke_test(decision, [0.2, 0.3, 0.9], abstain_at_most=0.5)
    smoke_test(decision, [0.2, 0.3, 0.9])
    with pytest.raises(Unavailable):
        smoke_test(Decision(1, 4, 0.5, 0.2, 0.3, 0.5), [])


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(InvalidInput):
        at_threshold(costs(1, 2), threshold)
