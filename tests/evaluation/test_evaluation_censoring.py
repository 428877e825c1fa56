"""Weights and bounds for censored outcomes, against walks one by one and simulated truth."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.evaluation.censoring import censoring_weights, sure_losses
from loopline.evaluation.intervals import mean_by_block
from loopline.evaluation.weights import effective_rows, weighted_mean_by_block

ROWS = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25)


def walked(rows) -> list[float]:
    """The Kaplan-Meier product written out for each row: over every earlier moment, who stayed of those still there."""
    weights = []
    for time, gone in rows:
        stays = Fraction(1)
        for moment in sorted({t for t, _ in rows if t < time}):
            lost = sum(1 for t, c in rows if t == moment and c)
            there = sum(1 for t, _ in rows if t >= moment) - sum(1 for t, c in rows if t == moment and not c)
            stays *= 1 - Fraction(lost, there) if there else 1
        weights.append(0.0 if gone else float(1 / stays))
    return weights


@settings(deadline=None)
@given(ROWS)
def test_weights_are_the_kaplan_meier_products(rows):
    times, gone = [t for t, _ in rows], [c for _, c in rows]
    assert censoring_weights(times, gone).tolist() == pytest.approx(walked(rows))


@settings(deadline=None)
@given(ROWS)
def test_with_a_horizon_that_some_reach_the_weights_stand_for_all_rows(rows):
    """Redistribution to the right (Efron 1967): what the censored weighed is carried by those followed for longer."""
    reached = [*rows, (7, False)]
    times, gone = [t for t, _ in reached], [c for _, c in reached]
    assert censoring_weights(times, gone).sum() == pytest.approx(len(reached))


def test_weighting_undoes_the_bias_of_leaving_censored_rows_out():
    rng = np.random.default_rng(4)
    rows, horizon = 40_000, 30.0
    event, leaves = rng.exponential(40, rows), rng.exponential(30, rows)
    happened = event <= horizon
    censored = (leaves < event) & (leaves < horizon)
    times = np.minimum(np.minimum(event, leaves), horizon)
    weights = censoring_weights(times, censored)
    known = ~censored
    naive = happened[known].mean()
    found = weighted_mean_by_block(np.where(known, happened, np.nan), weights, np.arange(rows) % 100)
    assert abs(naive - happened.mean()) > 0.05
    assert found.lower <= happened.mean() <= found.upper
    assert found.mean == pytest.approx(happened.mean(), abs=0.012)
    assert effective_rows(weights) < known.sum()


def test_nobody_censored_weighs_everybody_alike():
    assert censoring_weights([3, 1, 2], [False] * 3).tolist() == [1.0, 1.0, 1.0]
    assert censoring_weights([], []).tolist() == []


@pytest.mark.parametrize(("times", "gone"), [([1.0], [True, False]), ([-1.0], [True]), ([np.nan], [True])])
def test_times_that_are_none_are_refused(times, gone):
    with pytest.raises(InvalidInput):
        censoring_weights(times, gone)


def pinball(outputs, y, level=0.9):
    gap = np.asarray(y, float) - np.asarray(outputs, float)
    return np.maximum(level * gap, (level - 1) * gap)


@settings(deadline=None)
@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0, 100))
def test_a_sure_loss_is_never_above_the_loss_that_comes_true(prediction, bound, beyond):
    for loss in (pinball, lambda p, y: (p - y) ** 2, lambda p, y: np.abs(p - y)):
        sure, says = sure_losses(loss, np.array([prediction]), np.array([bound]))
        assert sure[0] <= loss(np.array([prediction]), np.array([bound + beyond]))[0] + 1e-9
        assert says[0] == (prediction <= bound)
        if says[0]:
            assert sure[0] == pytest.approx(loss(np.array([prediction]), np.array([bound]))[0])
        else:
            assert sure[0] == 0


def test_of_several_quantiles_only_those_below_the_bound_count():
    def rows(outputs, y):
        return sum(pinball(outputs[:, place], y, level) for place, level in enumerate((0.5, 0.9))) / 2

    sure, says = sure_losses(rows, np.array([[1.0, 5.0], [1.0, 2.0]]), np.array([3.0, 3.0]))
    assert sure.tolist() == pytest.approx([0.5 * 2 / 2, (0.5 * 2 + 0.9 * 1) / 2])
    assert says.tolist() == [False, True]


def test_equal_weights_give_the_plain_interval():
    rng = np.random.default_rng(0)
    x, blocks = rng.normal(size=200), np.arange(200) % 9
    plain, weighted = mean_by_block(x, blocks), weighted_mean_by_block(x, np.full(200, 2.5), blocks)
    assert (weighted.mean, weighted.lower, weighted.upper) == pytest.approx((plain.mean, plain.lower, plain.upper))


@pytest.mark.parametrize("weights", [[0.0, 0.0], [-1.0, 2.0], [np.inf, 1.0], [np.nan, 1.0]])
def test_weights_that_weigh_nothing_are_refused(weights):
    with pytest.raises(InvalidInput):
        weighted_mean_by_block([1.0, 2.0], weights, [0, 1])


def test_the_effective_rows_of_equal_weights_are_the_rows():
    assert effective_rows([2.0] * 7) == pytest.approx(7)
    assert effective_rows([1.0, 0.0, 0.0]) == pytest.approx(1)
    assert effective_rows([0.0]) == 0.0
