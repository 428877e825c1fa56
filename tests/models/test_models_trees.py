import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from loopline.models.tree import Tree
from loopline.models.trees import splits, trees_of


def stump(threshold: float) -> Tree:
    return Tree(
        feature=np.array([0]),
        threshold=np.array([threshold]),
        left=np.array([0]),
        right=np.array([0]),
        missing_left=np.array([False]),
        leaf=np.array([False]),
    )


@settings(max_examples=300, deadline=None)
@given(st.floats(min_value=-1e30, max_value=1e30), st.integers(-2, 2))
def test_the_float32_threshold_splits_float32_numbers_alike(threshold, steps):
    rounded = stump(threshold).float32_threshold()[0]
    value = np.float32(threshold)
    for _ in range(abs(steps)):
        value = np.nextafter(value, np.float32(math.copysign(np.inf, steps)))
    assert (value <= rounded) == (float(value) <= threshold)


def test_infinite_thresholds_stay():
    assert stump(np.inf).float32_threshold()[0] == np.inf


def test_walking_the_arrays_gives_the_leaves_of_scikit_learn(fitted):
    forest = RandomForestClassifier(4, random_state=0).fit(fitted.rows, fitted.label)
    leaves = forest.apply(fitted.rows)
    for place, tree in enumerate(trees_of(forest)):
        thresholds = tree.float32_threshold()
        for row in range(0, len(fitted.rows), 97):
            assert walk(tree, thresholds, fitted.rows[row])[-1] == leaves[row, place]


def walk(tree: Tree, thresholds: np.ndarray, row: np.ndarray) -> list[int]:
    path = [0]
    while not tree.leaf[path[-1]]:
        node = path[-1]
        value = row[tree.feature[node]]
        goes_left = tree.missing_left[node] if np.isnan(value) else value <= thresholds[node]
        path.append(int(tree.left[node] if goes_left else tree.right[node]))
    return path


def test_each_split_comes_with_a_row_that_gets_there_also_at_its_threshold(fitted):
    model = HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(fitted.rows, fitted.label)
    for tree in trees_of(model):
        thresholds = tree.float32_threshold()
        inner = {(int(tree.feature[node]), float(thresholds[node])): node for node in np.flatnonzero(~tree.leaf)}
        for split in splits([tree], fitted.rows, at_most=1000):
            row = split.row.copy()
            if np.isfinite(split.threshold):
                row[split.feature] = split.threshold
                crossed = {(int(tree.feature[n]), float(thresholds[n])) for n in walk(tree, thresholds, row)[:-1]}
                assert (split.feature, float(split.threshold)) in crossed
        assert len(list(splits([tree], fitted.rows, at_most=1000))) == sum(~tree.leaf)
        assert inner


def test_splits_are_shared_out_among_the_trees(fitted):
    forest = RandomForestClassifier(5, random_state=0).fit(fitted.rows, fitted.label)
    assert len(list(splits(trees_of(forest), fitted.rows, at_most=50))) == 50
