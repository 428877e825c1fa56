"""Which of several slices that overlap a change lies in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeRegressor

from loopline.monitoring.diagnosis.parting import Rows, clearest


def town(rows, seed, moved=0.0, changed="district"):
    """Rows of a district, of a part of the town that covers most of it and more, and of a colour that tells nothing."""
    rng = np.random.default_rng(seed)
    district = rng.random(rows) < 0.25
    north = np.where(district, rng.random(rows) < 0.9, rng.random(rows) < 0.1)
    inside = {"district": district, "north": north, "red": rng.random(rows) < 0.5}
    return Rows(rng.normal(0, 1, rows) + moved * inside[changed], inside)


@pytest.mark.parametrize("changed", ["district", "north", "red"])
@pytest.mark.parametrize("seed", range(5))
def test_the_slice_that_changed_is_the_clearest(changed, seed):
    found = clearest(town(4000, seed), town(4000, 100 + seed, moved=0.5, changed=changed))
    assert max(found, key=found.get) == changed
    assert found[changed] == 1.0


def test_where_nothing_moved_nothing_is_said():
    assert all(clearest(town(4000, seed), town(4000, 100 + seed)) is None for seed in range(20))
    assert clearest(Rows(np.zeros(0), {}), Rows(np.zeros(0), {})) is None


def test_a_slice_of_all_rows_or_of_none_parts_nothing():
    before, since = town(4000, 1), town(4000, 2, moved=0.5)
    for rows in (before, since):
        rows.inside["all"], rows.inside["none"] = np.ones(4000, dtype=bool), np.zeros(4000, dtype=bool)
    found = clearest(before, since)
    assert (found["all"], found["none"]) == (0.0, 0.0)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from(["district", "north", "red"]))
def test_it_is_the_slice_that_a_regression_tree_splits_by_first(seed, changed):
    before, since = town(500, seed), town(3000, seed + 1, moved=0.6, changed=changed)
    level = Rows(
        np.zeros(500), before.inside
    )  # the level before is the same everywhere: then it is a tree of what came since
    found = clearest(level, since)
    names = list(since.inside)
    tree = DecisionTreeRegressor(max_depth=1).fit(np.column_stack([since.inside[name] for name in names]), since.values)
    assert max(found, key=found.get) == names[tree.tree_.feature[0]]
