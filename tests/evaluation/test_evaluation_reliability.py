import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from loopline.errors import InvalidInput
from loopline.evaluation.reliability import reliability


def test_bins_as_scikit_learn_has_them():
    rng = np.random.default_rng(1)
    p = rng.random(5000)
    y = (rng.random(5000) < p**2).astype(float)
    got = reliability(p, y, bins=10)
    shares, means = calibration_curve(y, p, n_bins=10, strategy="quantile")
    np.testing.assert_allclose([one.base_rate for one in got.bins], shares, atol=0.01)
    np.testing.assert_allclose([one.mean_score for one in got.bins], means, atol=0.01)
    assert got.expected_error == pytest.approx(np.abs(shares - means).mean(), abs=0.005)
    assert got.largest_error == pytest.approx(np.abs(shares - means).max(), abs=0.01)


def test_equal_scores_stay_together():
    got = reliability([0.2] * 50 + [0.8] * 50, [0] * 40 + [1] * 10 + [1] * 40 + [0] * 10)
    assert [(one.rows, one.mean_score) for one in got.bins] == [(50, pytest.approx(0.2)), (50, pytest.approx(0.8))]
    assert got.expected_error == pytest.approx(0.0)


def test_bad_rows_are_refused():
    for p, y in [([], []), ([0.1], [1, 0]), ([np.nan], [1])]:
        with pytest.raises(InvalidInput):
            reliability(p, y)
