"""Off-policy estimates against the truth of simulations in which every action's outcome is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.evaluation.off_policy import off_policy, robust_rows
from loopline.evaluation.reward_model import cross_fitted


def world(seed: int, rows: int = 4000, days: int = 40, share: float = 0.2):
    """Two actions; the loss depends on both the row and the action. The log takes action 1 where x > 0, mostly."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    loss_of = np.column_stack([rng.random(rows) < 1 / (1 + np.exp(-x[:, 0])), 3.0 * (rng.random(rows) < 0.3)])
    usual = (x[:, 0] > 0).astype(int)
    logged = np.where(rng.random(rows) < share, 1 - usual, usual)
    propensity = np.where(logged == usual, 1 - share, share)
    target = (x[:, 1] > 0).astype(int)
    return x, loss_of, logged, propensity, target, np.arange(rows) % days


def seen_by(target, logged, loss_of):
    observed = target == logged
    return observed, np.where(observed, loss_of[np.arange(len(target)), target], np.nan)


def truth_of(rows: int = 400_000) -> float:
    _, loss_of, _, _, target, _ = world(999, rows)
    return float(loss_of[np.arange(rows), target].mean())


def modelled(x, loss_of, logged, target, days):
    estimates = [
        cross_fitted(x, np.where(logged == action, loss_of[:, action], np.nan), days, seed=1) for action in (0, 1)
    ]
    return np.where(target == 1, estimates[1], estimates[0])


def test_each_estimator_is_the_sum_one_would_write_by_hand():
    observed = np.array([True, False, True, True, False])
    propensity = np.array([0.5, 0.9, 0.25, 1.0, 0.6])
    loss = np.array([2.0, np.nan, 4.0, 0.5, np.nan])
    model = np.array([1.0, 3.0, 2.0, 1.0, 0.5])
    found = off_policy(observed, propensity, loss, np.arange(5), modelled=model, clip=10)
    assert found.ips.mean == pytest.approx((2 / 0.5 + 4 / 0.25 + 0.5) / 5)
    assert found.self_normalised.mean == pytest.approx((2 / 0.5 + 4 / 0.25 + 0.5) / (2 + 4 + 1))
    by_hand = [1 + 2 * (2 - 1), 3, 2 + 4 * (4 - 2), 1 + (0.5 - 1), 0.5]
    assert found.doubly_robust.mean == pytest.approx(sum(by_hand) / 5)
    assert robust_rows(observed, propensity, loss, model, clip=10).tolist() == pytest.approx(by_hand)
    assert found.overlap.effective_rows == pytest.approx(49 / (4 + 16 + 1))
    assert found.overlap.largest_weight == 4
    assert found.overlap.observed == 3


def test_estimates_are_right_on_average_and_intervals_cover_as_they_say():
    truth, covered, means = truth_of(), [], []
    for seed in range(200):
        _, loss_of, logged, propensity, target, days = world(seed, rows=1500)
        found = off_policy(*with_loss(target, logged, propensity, loss_of), days)
        means.append((found.ips.mean, found.self_normalised.mean))
        covered.append([one.lower <= truth <= one.upper for one in (found.ips, found.self_normalised)])
    error = np.std(means, axis=0) / math.sqrt(len(means))
    assert np.all(np.abs(np.mean(means, axis=0) - truth) < 4 * error + 0.002)
    assert np.all(np.mean(covered, axis=0) > 0.9)
    assert np.all(np.mean(covered, axis=0) < 0.99)


def with_loss(target, logged, propensity, loss_of):
    observed, loss = seen_by(target, logged, loss_of)
    return observed, propensity, loss


def test_the_doubly_robust_estimate_is_right_and_narrower():
    truth, widths, covered, means = truth_of(), [], [], []
    for seed in range(8):
        x, loss_of, logged, propensity, target, days = world(seed, rows=1500)
        found = off_policy(
            *with_loss(target, logged, propensity, loss_of), days, modelled=modelled(x, loss_of, logged, target, days)
        )
        robust = found.doubly_robust
        widths.append((robust.upper - robust.lower) / (found.ips.upper - found.ips.lower))
        covered.append(robust.lower <= truth <= robust.upper)
        means.append(robust.mean)
        assert found.best == robust
    assert np.mean(widths) < 0.9
    assert sum(covered) >= 6
    assert abs(np.mean(means) - truth) < 4 * np.std(means) / math.sqrt(len(means))


def test_the_naive_mean_of_the_log_is_not_the_policys():
    """What the estimators are for: the rows on which the log agreed are not like the others."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=20_000)
    loss = (rng.random(20_000) < 1 / (1 + np.exp(-2 * x))).astype(float)
    p_same = np.where(x > 0, 0.1, 0.9)
    observed = rng.random(20_000) < p_same
    found = off_policy(
        observed, np.where(observed, p_same, 1 - p_same), np.where(observed, loss, np.nan), np.arange(20_000) % 50
    )
    assert abs(loss[observed].mean() - loss.mean()) > 0.15
    assert found.ips.lower <= loss.mean() <= found.ips.upper
    assert found.self_normalised.lower <= loss.mean() <= found.self_normalised.upper


def test_a_wrong_model_does_not_bias_where_propensities_are_right():
    truth = truth_of()
    x, loss_of, logged, propensity, target, days = world(5, rows=60_000)
    observed, loss = seen_by(target, logged, loss_of)
    found = off_policy(observed, propensity, loss, days, modelled=np.full(len(x), 7.0))
    assert found.doubly_robust.lower <= truth <= found.doubly_robust.upper


def test_without_exploration_there_is_no_estimate():
    x, loss_of, logged, _, target, days = world(2, share=0.0)
    observed, loss = seen_by(target, logged, loss_of)
    found = off_policy(observed, np.ones(len(x)), loss, days)
    assert found.overlap.unsupported == pytest.approx((target != logged).mean())
    assert "never tries" in found.refused


def test_too_few_matching_rows_are_refused():
    observed = np.zeros(1000, dtype=bool)
    observed[:20] = True
    propensity = np.where(observed, 0.02, 0.98)
    found = off_policy(observed, propensity, np.where(observed, 1.0, np.nan), np.arange(1000) % 10)
    assert "30 are needed" in found.refused
    assert found.overlap.clipped == 20
    assert found.overlap.largest_weight == pytest.approx(50)
    assert found.overlap.clip == pytest.approx(math.sqrt(1000))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(20, 200))
def test_a_log_that_always_agreed_with_certainty_gives_the_plain_mean(seed, rows):
    loss = np.random.default_rng(seed).random(rows)
    found = off_policy(np.ones(rows, bool), np.ones(rows), loss, np.arange(rows) % 7, modelled=np.zeros(rows))
    for one in (found.ips, found.self_normalised, found.doubly_robust):
        assert one.mean == pytest.approx(loss.mean())
    assert found.overlap.effective_rows == pytest.approx(rows)
    assert found.overlap.unsupported == 0


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.1, np.nan])
def test_a_propensity_that_is_none_is_refused(bad):
    with pytest.raises(InvalidInput, match="probability"):
        off_policy([True, False], [bad, 0.5], [1.0, np.nan], [0, 1])


def test_an_observed_row_without_a_loss_is_refused():
    with pytest.raises(InvalidInput, match="no loss"):
        off_policy([True], [0.5], [np.nan], [0])
    with pytest.raises(InvalidInput, match="no observed row"):
        off_policy([False], [0.5], [1.0], [0])


def test_cross_fitting_never_learns_from_the_rows_it_predicts():
    """A target that is the block itself cannot be told by a model that has not seen the block."""
    rng = np.random.default_rng(1)
    blocks = np.repeat(np.arange(10), 100)
    noise = rng.normal(size=10)[blocks]
    predicted = cross_fitted(np.column_stack([blocks * 1.0]), noise, blocks, seed=0)
    assert not np.allclose(predicted, noise, atol=0.2)
    assert np.array_equal(predicted, cross_fitted(np.column_stack([blocks * 1.0]), noise, blocks, seed=0))


def test_with_little_to_learn_from_the_mean_is_predicted():
    target = np.array([1.0, np.nan, 3.0, np.nan])
    assert cross_fitted(np.zeros((4, 1)), target, np.zeros(4), seed=0).tolist() == [2.0] * 4
    assert cross_fitted(np.zeros((2, 1)), [np.nan, np.nan], [0, 1], seed=0).tolist() == [0.0, 0.0]
