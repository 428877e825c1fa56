"""Prediction-powered risk: unbiased over every sample there could be, precise where the estimate is good, and sound in a monitor."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.evaluation.estimation.powered import powered_loss, trust_of
from loopline.evidence.e_sr import STAKES
from loopline.monitoring.risk import Risk, bet, reference_of


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 1)), min_size=2, max_size=7), st.floats(0, 1)
)
def test_its_mean_over_all_samples_of_labels_is_the_loss_of_all_rows(rows, trust):
    f, x, p = (np.array(column) for column in zip(*rows, strict=True))
    mean = 0.0
    for chosen in product([False, True], repeat=len(rows)):
        mask = np.array(chosen)
        chance = float(np.prod(np.where(mask, p, 1 - p)))
        mean += chance * powered_loss(f, np.where(mask, x, np.nan), p, trust).value
    assert mean == pytest.approx(x.mean(), abs=1e-9)


def world(rng, rows, rate, harm=0.0):
    """The estimate knows most of the loss, and nothing of the harm."""
    f = rng.beta(2, 4, rows)
    x = np.clip(f + rng.normal(0, 0.1, rows) + harm, 0, 1)
    p = np.clip(rate * (0.5 + 2 * f), 0.01, 1.0)
    return f, np.where(rng.random(rows) < p, x, np.nan), p, x.mean()


def test_it_is_right_where_the_estimate_is_wrong_and_surer_than_the_labels_alone():
    rng = np.random.default_rng(4)
    before = world(rng, 4000, 0.05)
    trust = trust_of(*before[:3])
    assert 0.5 < trust <= 1
    errors = {"both": [], "labels": [], "estimate": []}
    inside = 0
    for _ in range(300):
        f, x, p, real = world(rng, 1000, 0.05, harm=0.15)
        found = powered_loss(f, x, p, trust)
        inside += abs(found.value - real) < 1.96 * found.error
        errors["both"].append(found.value - real)
        errors["labels"].append(powered_loss(f, x, p, 0.0).value - real)
        errors["estimate"].append(f.mean() - real)
    rms = {name: float(np.sqrt(np.square(each).mean())) for name, each in errors.items()}
    assert abs(np.mean(errors["both"])) < 3 * rms["both"] / math.sqrt(300)
    assert rms["both"] < 0.8 * rms["labels"]
    assert rms["both"] < 0.5 * rms["estimate"]
    assert inside >= 0.92 * 300


@pytest.mark.parametrize("clustered", [False, True])
def test_false_pages_stay_within_the_budget_with_few_labels(clustered):
    """Forty of 800 rows of a day have labels; where clustered, each day has its own level. Harm is then seen within days."""
    risk, paths, days = Risk(tolerance=0.02, false_pages_per_year=6, baseline="none"), 30, 400
    rng = np.random.default_rng(int(clustered))

    def means(count, harm=0.0):
        """As `powered_loss` of 800 rows, by its law: the estimate's mean, and forty times what it misses."""
        level = rng.normal(0, 0.02 if clustered else 0.0, count) + harm
        labelled = rng.binomial(800, 0.05, count)
        missed = labelled * level + rng.normal(size=count) * 0.1 * np.sqrt(labelled)
        return 1 / 3 + rng.normal(0, 0.178 / math.sqrt(800), count) + missed / 40

    pages, soon = [], 0
    for _ in range(paths):
        learnt = reference_of(means(40).tolist())
        terms, at_the_edge = bet(risk, learnt), learnt.upper + risk.tolerance - 1 / 3

        def alarms(x, terms=terms):
            evidence, found = np.zeros(len(STAKES)), []
            for day, value in enumerate(x):
                bets = 1 + np.array(STAKES) * (terms.observation(float(value)) - terms.mean) / terms.mean
                evidence = bets * (evidence + 1)
                if evidence.mean() >= risk.threshold:
                    evidence = np.zeros(len(STAKES))
                    found.append(day)
            return found

        pages.append(len(alarms(means(days) + at_the_edge)))
        soon += bool(alarms(means(30, harm=0.15)))
    assert np.mean(pages) <= 1.1 * days / risk.threshold + 3 * np.std(pages) / math.sqrt(paths)
    assert soon >= 0.9 * paths


def test_bad_rows_are_refused():
    for f, x, p in (
        ([0.1], [0.1, 0.2], [0.5]),
        ([], [], []),
        ([0.1], [0.1], [0.0]),
        ([np.nan], [0.1], [0.5]),
        ([0.1], [0.1], [1.2]),
    ):
        with pytest.raises(InvalidInput):
            powered_loss(f, x, p)
    assert trust_of([0.1] * 20, [np.nan] * 20, [0.5] * 20) == 0.0
