import math

import numpy as np
import pytest
from scipy import stats

from loopline.errors import InvalidInput
from loopline.evidence.student import quantile, upper_bound, upper_tail


def test_as_scipy_has_it():
    for freedom in (1, 3, 13, 400):
        assert quantile(0.95, freedom) == pytest.approx(stats.t.ppf(0.95, freedom))
        assert upper_tail(1.3, freedom) == pytest.approx(stats.t.sf(1.3, freedom))


def test_the_bound_is_the_end_of_the_one_sided_interval():
    x = np.random.default_rng(1).normal(0, 1, 12)
    _, high = stats.ttest_1samp(x, 0, alternative="less").confidence_interval(0.9)
    assert upper_bound(x.tolist(), 0.9) == pytest.approx(high)


def test_one_figure_bounds_nothing():
    assert upper_bound([0.3], 0.95) == math.inf
    assert quantile(0.95, 0) == math.inf
    assert quantile(0.05, 0) == -math.inf
    assert upper_tail(5.0, 0) == 1.0
    with pytest.raises(InvalidInput):
        upper_bound([], 0.95)
