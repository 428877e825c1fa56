"""What loss was due: a harder world is no harm, a worse model is, and a false page stays rare."""

import numpy as np
import pytest
from scipy import stats

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.evaluation.losses import named
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.dependence import autocorrelation
from loopline.monitoring.due import due, own_account, promise_of, reference_of
from loopline.monitoring.level import at_block_level
from loopline.monitoring.risk import Risk, bet
from loopline.monitoring.state import MonitorState, observe
from loopline.monitoring.tally import cut_blocks
from loopline.values import from_micros

DAY = 86_400_000_000
BLOCKS, ROWS, REFERENCE = 90, 250, 30
LOG_LOSS = named("log_loss")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def entropy(p):
    return -(p * np.log(p) + (1 - p) * np.log(1 - p))


def means(score, label):
    """Mean loss, base rate's loss and own account of each block, from (blocks, rows)."""
    loss = -np.log(np.where(label == 1, score, 1 - score)).mean(axis=1)
    return loss, entropy(label.mean(axis=1)), entropy(score).mean(axis=1)


def watched(score, label, year=1.0):
    """The excess of each block after the reference, and the alarms."""
    loss, base, own = means(score, label)
    promise = promise_of(loss[:REFERENCE], base[:REFERENCE], own[:REFERENCE])
    reference = reference_of(promise, loss[:REFERENCE], base[:REFERENCE], own[:REFERENCE])
    owed = due(promise, base, own, np.zeros(len(loss), dtype=bool))
    risk = Risk("log_loss", 0.02 * promise.level, "1d", year, "scores", 1)
    state, alarms = MonitorState(), 0
    for place in range(REFERENCE, len(loss)):
        block = BlockSummary(
            start=from_micros(place * DAY), end=from_micros(place * DAY + DAY), predictions=ROWS, labelled=ROWS, positives=0.0,
            expected=0.0, loss=loss[place] * ROWS, baseline=owed[place] * ROWS,
        )  # fmt: skip
        seen = observe(risk, reference, state, block)
        state, alarms = seen.state, alarms + (seen.harm is not None)
    return alarms


def rows(seed, *, world=0.0, meaning=0.0, noise=0.0, after=50):
    """Scores and labels (blocks, rows). From a block on: the inputs move, the meaning of scores moves, scores get noisy."""
    rng = np.random.default_rng(seed)
    late = (np.arange(BLOCKS) >= after)[:, None]
    z = rng.normal(-1, 1, (BLOCKS, ROWS)) + world * late
    label = (rng.random((BLOCKS, ROWS)) < sigmoid(z + meaning * late)).astype(float)
    return sigmoid(z + late * rng.normal(0, noise, (BLOCKS, ROWS))), label


@pytest.mark.parametrize("world", [0.0, 1.0, -1.0, 2.0])
def test_a_world_that_moves_does_not_page(world):
    """Base rate, entropy and loss all change; what a score means does not. The budget is 60 / 365 pages a run."""
    pages = sum(watched(*rows(seed, world=world)) for seed in range(40))
    allowed = (BLOCKS - REFERENCE) / 365.25 * 40
    assert pages <= stats.poisson.ppf(0.999, allowed)


def test_pages_stay_within_the_budget_where_alarms_are_wished_for():
    """A budget of 30 a year, so that there is something to count."""
    pages = sum(watched(*rows(seed), year=30.0) for seed in range(60))
    allowed = (BLOCKS - REFERENCE) / 365.25 * 30 * 60
    assert pages <= allowed


@pytest.mark.parametrize("harm", [{"noise": 1.3}, {"meaning": 1.2}])
def test_a_model_that_is_worse_pages(harm):
    assert all(watched(*rows(seed, **harm)) for seed in range(10))


def test_scores_that_are_too_high_for_a_calmer_world_do_not_page():
    """Fewer positives than the scores say: the loss falls. That is a matter of calibration."""
    assert sum(watched(*rows(seed, meaning=-0.7)) for seed in range(20)) == 0


def test_due_is_the_more_lenient_of_both_accounts():
    promise = promise_of(np.array([0.5, 0.5]), np.array([0.6, 0.6]), np.array([0.45, 0.45]))
    base, own = np.array([0.7, 0.5]), np.array([0.4, 0.8])
    np.testing.assert_allclose(due(promise, base, own, np.array([False, False])), [0.6, 0.85])


def test_a_fault_excuses_nothing():
    promise = promise_of(np.array([0.5, 0.5]), np.array([0.6, 0.6]), np.array([0.45, 0.45]))
    np.testing.assert_allclose(due(promise, np.array([0.3]), np.array([0.9]), np.array([True])), [0.5])


def test_a_world_twice_as_large_is_no_harm_for_a_loss_of_a_scale():
    promise = promise_of(np.array([1.0, 1.0]), np.array([10.0, 10.0]), None, scaled=True)
    np.testing.assert_allclose(due(promise, np.array([40.0, 10.0]), None, np.array([False, False])), [4.0, 1.0])


def test_a_block_s_level_is_taken_out():
    """Each block's mean probability is its base rate, and the order of its rows is what it was."""
    rng = np.random.default_rng(0)
    at = np.sort(rng.integers(1, 20 * DAY, 5000))
    judged = rng.random(5000) < 0.9
    blocks = cut_blocks(at, judged, DAY, 50)
    score, label = rng.uniform(0.01, 0.99, 5000), (rng.random(5000) < 0.2).astype(float)
    found = at_block_level(score, np.where(judged, label, np.nan), judged, blocks)
    for first, last in zip(blocks.first, blocks.last, strict=True):
        part = slice(int(first), int(last))
        known = judged[part]
        assert found[part][known].mean() == pytest.approx(label[part][known].mean(), abs=1e-6)
        shift = np.log(found[part] / (1 - found[part]) * (1 - score[part]) / score[part])[known]
        np.testing.assert_allclose(shift, shift[0], atol=1e-6)
    np.testing.assert_array_equal(found[~judged], score[~judged])


def test_a_block_of_one_class_moves_far_and_not_to_infinity():
    blocks = cut_blocks(np.array([1, 2, 3]), np.ones(3, dtype=bool), DAY, 1)
    found = at_block_level(np.array([0.2, 0.5, 0.6]), np.zeros(3), np.ones(3, dtype=bool), blocks)
    assert np.all((found > 0) & (found < 0.01))


def test_the_own_account_is_the_expected_loss():
    rng = np.random.default_rng(3)
    p, q = rng.random(50), rng.random(50)
    drawn = (rng.random((20_000, 50)) < q).astype(float)
    simulated = np.mean([LOG_LOSS.rows(p, y) for y in drawn], axis=0)
    np.testing.assert_allclose(own_account(LOG_LOSS, p, q), simulated, atol=0.1)
    np.testing.assert_allclose(own_account(LOG_LOSS, p, q), -q * np.log(p) - (1 - q) * np.log(1 - p), rtol=1e-3)


def test_the_own_account_of_several_classes():
    loss = named("log_loss", Output("multiclass", ("a", "b", "c")))
    p = np.random.default_rng(0).dirichlet([2, 2, 2], 30)
    np.testing.assert_allclose(own_account(loss, p, p), stats.entropy(p, axis=1), rtol=1e-6)


def test_the_bound_is_students_where_blocks_are_independent():
    loss = np.random.default_rng(1).normal(0.5, 0.1, 12)
    promise = promise_of(loss, np.full(12, 0.6), None)
    found = reference_of(promise, loss, np.full(12, 0.6), None)
    assert autocorrelation(loss) == 0.0
    _, upper = stats.ttest_1samp(loss - loss.mean(), 0).confidence_interval(0.9)
    assert found.upper == pytest.approx(upper)
    assert found.mean == pytest.approx(0, abs=1e-12)
    assert bet(Risk(baseline="scores"), found).mean < 1


def test_the_bound_is_wider_where_blocks_follow_each_other():
    rng = np.random.default_rng(2)
    walk = [0.0]
    for step in rng.normal(0, 0.1, 59):
        walk.append(0.9 * walk[-1] + step)
    loss = 1 + np.array(walk)
    shuffled = rng.permutation(loss)
    base = np.full(60, 2.0)
    sticky = reference_of(promise_of(loss, base, None), loss, base, None)
    loose = reference_of(promise_of(shuffled, base, None), shuffled, base, None)
    assert sticky.upper > 1.5 * loose.upper


def test_too_short_a_reference_is_refused():
    four = np.full(4, 0.5)
    with pytest.raises(InvalidInput, match="needs 5"):
        reference_of(promise_of(four, four, None), four, four, None)
