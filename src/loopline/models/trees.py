"""The trees inside fitted scikit-learn estimators, as arrays: where they split, and which rows get there."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Tree:
    """One tree; every array has one entry per node, children are given by their place.

    A float32 value goes left where `value <= threshold` (float64), NaN where `missing_left`. At a leaf all but `leaf` is
    without meaning.
    """

    feature: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float64]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    missing_left: npt.NDArray[np.bool_]
    leaf: npt.NDArray[np.bool_]

    def float32_threshold(self) -> npt.NDArray[np.float32]:
        """The greatest float32 not above each threshold: it splits float32 values exactly as the threshold does."""
        near = self.threshold.astype(np.float32)
        return np.where(near > self.threshold, np.nextafter(near, np.float32(-np.inf)), near)


@dataclass(frozen=True)
class Split:
    """A split, and the place of a row that gets to it (-1 where no row does)."""

    feature: int
    threshold: np.float32
    row: int


def trees_of(estimator: Any) -> list[Tree]:
    """The trees of a fitted estimator in the order of their fitting; none for an estimator without trees.

    Reads decision trees, forests, gradient boosting, histogram gradient boosting, and these at the end of a pipeline, in a
    calibrated classifier or in an ensemble.
    """
    if hasattr(estimator, "steps"):
        return trees_of(estimator.steps[-1][1])
    if hasattr(estimator, "_predictors"):
        return [_boosted_tree(predictor.nodes) for stage in estimator._predictors for predictor in stage]  # noqa: SLF001 - scikit-learn has no public view of them
    if hasattr(estimator, "tree_"):
        return [_plain_tree(estimator.tree_)]
    if hasattr(estimator, "calibrated_classifiers_"):
        return [tree for part in estimator.calibrated_classifiers_ for tree in trees_of(part.estimator)]
    parts = np.ravel(np.asarray(getattr(estimator, "estimators_", []), dtype=object))
    return [tree for part in parts for tree in trees_of(part)]


def splits(trees: list[Tree], rows: Rows, *, at_most: int) -> Iterator[Split]:
    """Splits of `trees` from the roots down, in equal shares and `at_most` in all, each with a row of `rows` that gets there."""
    share = max(1, at_most // max(1, len(trees)))
    for tree in trees:
        yield from _splits(tree, rows, share)


def _splits(tree: Tree, rows: Rows, share: int) -> Iterator[Split]:
    thresholds = tree.float32_threshold()
    waiting = deque([(0, np.arange(len(rows)))])
    while waiting and share:
        node, here = waiting.popleft()
        if tree.leaf[node]:
            continue
        values = rows[here, tree.feature[node]]
        missing = np.isnan(values)
        yield Split(int(tree.feature[node]), thresholds[node], _representative(here, missing))
        share -= 1
        goes_left = np.where(missing, tree.missing_left[node], values <= thresholds[node])
        waiting.append((int(tree.left[node]), here[goes_left]))
        waiting.append((int(tree.right[node]), here[~goes_left]))


def _representative(here: Places, missing: npt.NDArray[np.bool_]) -> int:
    # A row that has a value came by the thresholds above, so any value between them keeps it on its way.
    present = here[~missing]
    chosen = present if len(present) else here
    return int(chosen[0]) if len(chosen) else -1


def _boosted_tree(nodes: npt.NDArray[Any]) -> Tree:
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(np.bool_),
        leaf=nodes["is_leaf"].astype(np.bool_),
    )


def _plain_tree(tree: Any) -> Tree:
    return Tree(
        feature=tree.feature.astype(np.int64),
        threshold=tree.threshold.astype(np.float64),
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        missing_left=tree.missing_go_to_left.astype(np.bool_),
        leaf=tree.children_left == -1,
    )
