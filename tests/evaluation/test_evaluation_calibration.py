import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from scipy.special import logit as scipy_logit

from loopline.errors import InvalidInput
from loopline.evaluation.calibration import LogisticCalibrator, fit_logistic


def drawn(a, b, rows=20_000, seed=3):
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, rows)
    return expit(z), (rng.random(rows) < expit(a * z + b)).astype(float)


def test_apply_is_the_sigmoid_of_the_line_through_the_logits():
    p = np.array([0.0, 0.001, 0.3, 0.5, 0.99, 1.0])
    expected = expit(0.7 * scipy_logit(np.clip(p, 1e-6, 1 - 1e-6)) - 0.4)
    np.testing.assert_allclose(LogisticCalibrator(0.7, -0.4).apply(p), expected, rtol=1e-12)


def test_a_missing_score_stays_missing():
    assert np.isnan(LogisticCalibrator().apply(np.array([np.nan]))).all()


def test_fit_finds_the_line_that_made_the_labels():
    fitted = fit_logistic(*drawn(0.6, -0.8))
    assert fitted.a == pytest.approx(0.6, abs=0.05)
    assert fitted.b == pytest.approx(-0.8, abs=0.05)


def test_fit_is_the_maximum_of_platts_likelihood():
    p, y = drawn(1.4, 0.3, rows=500)
    n1 = y.sum()
    targets = np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (len(y) - n1 + 2))
    z = scipy_logit(np.clip(p, 1e-6, 1 - 1e-6))

    def loss(line):
        q = expit(line[0] * z + line[1])
        return -np.mean(targets * np.log(q) + (1 - targets) * np.log(1 - q))

    best = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}).x
    fitted = fit_logistic(p, y)
    np.testing.assert_allclose([fitted.a, fitted.b], best, atol=1e-5)


def test_separable_rows_give_a_finite_line():
    fitted = fit_logistic([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert np.isfinite([fitted.a, fitted.b]).all()
    assert fitted.a > 0


@pytest.mark.parametrize(
    ("p", "y"),
    [
        ([], []),
        ([0.4], [1]),
        ([0.2, 0.4], [1, 1]),
        ([0.3, 0.3, 0.3], [0, 1, 1]),
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0]),
    ],
)
def test_where_nothing_can_be_learnt_the_score_stays(p, y):
    assert fit_logistic(p, y) == LogisticCalibrator(1.0, 0.0)


@pytest.mark.parametrize(
    ("p", "y"), [([0.1, 0.2], [1]), ([0.1, np.nan], [0, 1]), ([0.1, 1.2], [0, 1]), ([0.1, 0.2], [0, 2])]
)
def test_bad_rows_are_refused(p, y):
    with pytest.raises(InvalidInput):
        fit_logistic(p, y)


@settings(deadline=None)
@given(st.floats(0.05, 20), st.floats(-5, 5))
def test_the_order_of_scores_never_changes_and_json_brings_the_line_back(a, b):
    calibrator = LogisticCalibrator(a, b)
    assert np.all(np.diff(calibrator.apply(np.linspace(0, 1, 101))) >= 0)
    assert msgspec.json.decode(msgspec.json.encode(calibrator), type=LogisticCalibrator) == calibrator
