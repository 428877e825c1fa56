"""Groups of a label, against SciPy."""

import numpy as np
import pytest
from scipy import stats

from loopline.errors import InvalidInput
from loopline.evaluation.groups import label_by_group, wilson

RNG = np.random.default_rng(2)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 10), (1, 1), (500, 2000), (0, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_that_of_scipy(k, n, confidence):
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert wilson(k, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_rates_by_group_cover_their_truth():
    inside = rows = 0
    for _ in range(150):
        names = RNG.choice(["a", "b"], 300, p=[0.3, 0.7])
        rate = np.where(names == "a", 0.1, 0.3)
        groups = {one.name: one for one in label_by_group(names, (RNG.random(300) < rate).astype(float), binary=True)}
        inside += groups["a"].lower <= 0.1 <= groups["a"].upper
        inside += groups["a"].gap_lower <= -0.2 <= groups["a"].gap_upper
        rows += 2
    assert 0.92 <= inside / rows <= 0.99


def test_means_are_those_of_welch():
    names = np.array(["a"] * 40 + ["b"] * 200)
    y = np.where(names == "a", 1.0, 0.0) + RNG.normal(size=240) * np.where(names == "a", 3, 1)
    groups = {one.name: one for one in label_by_group(names, y, binary=False)}
    expected = stats.ttest_ind(y[names == "a"], y[names == "b"], equal_var=False).confidence_interval(0.95)
    assert (groups["a"].gap_lower, groups["a"].gap_upper) == pytest.approx((expected.low, expected.high), rel=0.02)
    mean = stats.t.interval(0.95, 39, loc=y[:40].mean(), scale=stats.sem(y[:40]))
    assert (groups["a"].lower, groups["a"].upper) == pytest.approx(mean)


def test_unknown_labels_and_small_groups():
    groups = label_by_group(["a", "a", "b", "c"], [1, np.nan, np.nan, 0], binary=True)
    told = {one.name: (one.rows, one.labelled, one.mean) for one in groups}
    assert told == {"a": (2, 1, 1.0), "b": (1, 0, None), "c": (1, 1, 0.0)}
    assert [one.name for one in groups] == ["a", "b", "c"]
    assert label_by_group(["a", "b"], [1.0, 2.0], binary=False)[0].lower is None
    with pytest.raises(InvalidInput):
        label_by_group(["a"], [1, 2], binary=True)


def test_equal_groups_show_no_gap_and_unequal_ones_do():
    names = RNG.choice(["a", "b", "c", "d"], 4000)
    equal = label_by_group(names, (RNG.random(4000) < 0.3).astype(float), binary=True)
    assert min(one.p_adjusted for one in equal) > 0.01
    other = label_by_group(names, (RNG.random(4000) < np.where(names == "a", 0.5, 0.3)).astype(float), binary=True)
    assert {one.name for one in other if one.p_adjusted < 1e-6} >= {"a"}
