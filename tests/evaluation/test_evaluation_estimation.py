"""Estimates without labels, against labels that are drawn, and against every labelling there could be."""

import math
from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression

from loopline.errors import InvalidInput
from loopline.evaluation.calibration import fit_logistic
from loopline.evaluation.estimation.confidence import (
    estimate_by_confidence,
    expected_confusion,
    expected_losses,
    of_each_class,
)
from loopline.evaluation.estimation.domain import density_ratios
from loopline.evaluation.estimation.estimate import Past, jackknife
from loopline.evaluation.estimation.unlabelled import estimate_loss
from loopline.evaluation.kind import Output
from loopline.evaluation.losses import named
from loopline.evaluation.softmax import fit_temperature, fit_vector

THREE = Output("multiclass", ("a", "b", "c"))
PER_BLOCK = 200


def frame(x):
    return pl.DataFrame(x, schema=["a", "b", "c"])


def two_classes(rng, rows, shift=0.0):
    """The model to come cannot see the product of the first two, so its scores mean something else where the first is larger."""
    x = rng.normal(size=(rows, 3))
    x[:, 0] += shift
    p = 1 / (1 + np.exp(0.8 - x[:, 0] - 0.8 * x[:, 0] * x[:, 1] - 0.5 * (x[:, 2] > 0)))
    return x, (rng.random(rows) < p).astype(float)


def three_classes(rng, rows, shift=0.0):
    x = rng.normal(size=(rows, 3))
    x[:, 0] += shift
    z = np.column_stack([x[:, 0] * x[:, 1], x[:, 1] - 0.3 * x[:, 0], 0.5 * x[:, 2]])
    return x, (z + rng.gumbel(size=z.shape)).argmax(axis=1).astype(float)


def numbers(rng, rows, shift=0.0):
    x = rng.normal(size=(rows, 3))
    x[:, 0] += shift
    return x, x[:, 0] + np.abs(x[:, 1]) + rng.normal(size=rows) * (0.5 + 0.5 * np.abs(x[:, 0]))


def served(make, seed, shift, past=4000, now=1500):
    """A model of this world, the past it was watched on, and rows of now with what would have been their labels."""
    rng = np.random.default_rng(seed)
    x, y = make(rng, 3000)
    if make is numbers:
        model = LinearRegression().fit(x, y)
        predict = model.predict
    else:
        model = LogisticRegression().fit(x, y)
        predict = model.predict_proba if make is three_classes else lambda rows: model.predict_proba(rows)[:, 1]
    (x, y), (x_now, y_now) = make(rng, past), make(rng, now, shift)
    return Past(predict(x), y, np.arange(past) // PER_BLOCK, frame(x)), predict(x_now), frame(x_now), y_now


def without_features(past):
    return Past(past.outputs, past.labels, past.blocks)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=7), st.sampled_from(["log_loss", "brier", "zero_one"]))
def test_expected_loss_and_its_spread_are_those_over_all_labellings(p, name):
    outputs, loss = np.array(p), named(name)
    mean = second = 0.0
    for labels in product([0.0, 1.0], repeat=len(p)):
        chance = math.prod(q if y else 1 - q for q, y in zip(p, labels, strict=True))
        lost = float(loss.rows(outputs, np.array(labels)).mean())
        mean, second = mean + chance * lost, second + chance * lost**2
    table = of_each_class(loss.rows, outputs)
    expected = expected_losses(table, outputs)
    spread = expected_losses(table**2, outputs) - expected**2
    assert expected.mean() == pytest.approx(mean)
    assert spread.sum() / len(p) ** 2 == pytest.approx(second - mean**2, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 10_000)), min_size=1, max_size=6))
def test_the_expected_confusion_is_the_mean_over_all_labellings(rows):
    chosen = [place for place, _ in rows]
    sure = np.array([np.random.default_rng(seed).dirichlet([1, 1, 1]) for _, seed in rows])
    mean = np.zeros((3, 3))
    for labels in product(range(3), repeat=len(rows)):
        chance = math.prod(sure[row, label] for row, label in enumerate(labels))
        for label, pick in zip(labels, chosen, strict=True):
            mean[label, pick] += chance
    assert expected_confusion(chosen, sure) == pytest.approx(mean)


@pytest.mark.parametrize("fit", [fit_logistic, fit_temperature, fit_vector])
def test_a_weight_is_so_many_rows(fit):
    rng = np.random.default_rng(3)
    p = rng.random(300) if fit is fit_logistic else rng.dirichlet([1, 1, 1], 300)
    drawn = rng.random(300)
    y = (drawn < p).astype(float) if p.ndim == 1 else (drawn[:, None] > p.cumsum(axis=1)).sum(axis=1).astype(float)
    often = rng.integers(1, 4, 300)
    weighted = fit(p, y, often.astype(float))
    repeated = fit(np.repeat(p, often, axis=0), np.repeat(y, often))
    if fit is fit_logistic:
        assert (weighted.a, weighted.b) == pytest.approx((repeated.a, repeated.b))
    else:  # one row's worth of belief weighs more among fewer rows
        assert weighted.apply(p) == pytest.approx(repeated.apply(p), abs=0.03)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(0).normal(size=12)
    left_out = [float(np.delete(x, place).mean()) for place in range(12)]
    assert jackknife(left_out) == pytest.approx(x.std(ddof=1) / math.sqrt(12))
    assert jackknife([1.0]) == 0.0


def test_density_ratios_weigh_what_is_frequent_now_and_say_what_is_left():
    rng = np.random.default_rng(1)
    past = pl.DataFrame({"x": rng.normal(size=4000), "kind": rng.choice(["a", "b"], 4000, p=[0.8, 0.2])})
    same = pl.DataFrame({"x": rng.normal(size=2000), "kind": rng.choice(["a", "b"], 2000, p=[0.8, 0.2])})
    other = pl.DataFrame({"x": rng.normal(1, 1, size=2000), "kind": rng.choice(["a", "b"], 2000, p=[0.2, 0.8])})
    equal, moved = density_ratios(past, same, 1), density_ratios(past, other, 1)
    assert equal.effective > 3500
    assert moved.effective < 0.5 * equal.effective
    assert moved.weights.mean() == pytest.approx(1)
    assert float((moved.weights * (past["kind"] == "b").to_numpy()).mean()) == pytest.approx(0.8, abs=0.08)
    truth = np.exp(past["x"].to_numpy() - 0.5) * np.where(past["kind"] == "a", 0.25, 4.0)
    assert np.corrcoef(np.log(moved.weights), np.log(truth))[0, 1] > 0.9
    assert np.array_equal(density_ratios(past, other, 1).weights, moved.weights)


def test_a_harmful_shift_is_seen_without_labels():
    """PAPE sees that scores mean something else there; CBPE, which takes them at their word, does not."""
    past, outputs, features, y = served(three_classes, 5, 1.2)
    loss = named("log_loss", THREE)
    real, before = loss.rows(outputs, y).mean(), loss.rows(past.outputs, past.labels).mean()
    pape = estimate_loss("log_loss", THREE, past, outputs, features, 1)
    cbpe = estimate_loss("log_loss", THREE, without_features(past), outputs)
    assert (pape.method, cbpe.method) == ("pape", "cbpe")
    assert abs(pape.value - real) < abs(cbpe.value - real)
    assert pape.lower <= real <= pape.upper
    assert pape.effective < len(past) / 2 < cbpe.effective == len(past)
    assert pape.value > before
    assert pape.baseline == pytest.approx(loss.best_constant(outputs, y).mean(), abs=0.05)


def test_the_loss_of_numbers_is_estimated_from_a_model_of_it():
    past, outputs, features, y = served(numbers, 2, 1.2)
    loss = named("squared_error", Output("regression"))
    real, before = loss.rows(outputs, y).mean(), loss.rows(past.outputs, past.labels).mean()
    found = estimate_loss("squared_error", Output("regression"), past, outputs, features, 1)
    assert (found.method, found.baseline) == ("dle", None)
    assert found.lower <= real <= found.upper
    assert abs(found.value - real) < 0.5 * abs(before - real)


def test_a_change_of_meaning_is_not_seen_and_the_estimate_says_what_the_scores_say():
    past, outputs, _, y = served(two_classes, 1, 0.0)
    found = estimate_loss("log_loss", Output(), without_features(past), outputs)
    turned = named("log_loss").rows(outputs, 1 - y).mean()
    assert found.upper < turned


def test_what_cannot_be_said_is_not_said():
    past, outputs, features, _ = served(two_classes, 1, 0.0, past=600, now=200)
    few = Past(past.outputs[:400], past.labels[:400], past.blocks[:400])
    assert "Only 400 rows" in estimate_loss("log_loss", Output(), few, outputs).why
    assert "no rows" in estimate_loss("log_loss", Output(), past, outputs[:0]).why
    far = features.with_columns(pl.col("a") + 12)
    unlike = estimate_loss("log_loss", Output(), past, outputs, far, 1)
    assert unlike.value is None
    assert unlike.effective < 100
    assert "unlike those with labels" in unlike.why
    assert (unlike.lower, unlike.upper) == (-math.inf, math.inf)
    assert "Without features" in estimate_loss("squared_error", Output("regression"), past, outputs).why
    assert "ranking" in estimate_loss("ndcg_loss", Output("ranking"), past, outputs).why
    with pytest.raises(InvalidInput):
        Past(past.outputs, past.labels[:5], past.blocks)


def test_costs_of_decisions_are_estimated_too():
    past, outputs, _, y = served(two_classes, 4, 0.0)

    def paid(p, label):
        return np.where(p >= 0.25, 1 - label, 3 * label)

    found = estimate_by_confidence(paid, without_features(past), outputs)
    assert found.lower <= paid(outputs, y).mean() <= found.upper
    assert found.baseline is None


@pytest.mark.heavy
@pytest.mark.parametrize("make", [two_classes, three_classes, numbers])
@pytest.mark.parametrize("shift", [0.0, 0.7, 1.2])
def test_the_bounds_hold_what_labels_show(make, shift):
    """Over 30 worlds: 95 % bounds, and the estimate is nearer to the truth than the loss of the past where that moved."""
    output = {two_classes: Output(), three_classes: THREE, numbers: Output("regression")}[make]
    name = "absolute_error" if make is numbers else "log_loss"
    inside, missed, stale = 0, [], []
    for seed in range(30):
        past, outputs, features, y = served(make, seed, shift)
        found = estimate_loss(name, output, past, outputs, features, seed)
        real = named(name, output).rows(outputs, y).mean()
        inside += found.lower <= real <= found.upper
        missed.append(found.value - real)
        stale.append(named(name, output).rows(past.outputs, past.labels).mean() - real)
    rms = [float(np.sqrt(np.square(each).mean())) for each in (missed, stale)]
    told = f"{inside} of 30 inside, rms error {rms[0]:.4f}, of the past {rms[1]:.4f}"
    assert inside >= 26, told
    assert rms[0] < (max(1.25 * rms[1], 0.02) if shift < 1 else rms[1] + 0.01), told
