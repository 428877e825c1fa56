"""The trees inside fitted estimators, and rows that get to each of their splits."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.models.boosters.booster import tree_sum_of
from loopline.models.estimator import is_runtime
from loopline.models.tree import Tree

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Split:
    """A split, and a row (float32, one number a field) that gets to it; None where no row can."""

    feature: int
    threshold: np.float32
    row: Rows | None


@dataclass(frozen=True)
class _Step:
    """One split on the way down from the root, and the way taken there."""

    feature: int
    threshold: np.float32
    left: bool
    missing_left: bool
    before: "_Step | None"


def trees_of(estimator: Any) -> list[Tree]:
    """The trees of a fitted estimator in the order of their fitting; none for an estimator without trees.

    Reads decision trees, forests, gradient boosting, histogram gradient boosting, LightGBM, XGBoost, and these at the end of a
    pipeline, in a calibrated classifier or in an ensemble. The values of leaves are known for the first of these; inside
    something else they are None.
    """
    inside = next((inner(estimator) for has, inner in _INSIDE if has(estimator)), None)
    if inside is not None:
        return trees_of(inside)
    own = next((trees(estimator) for name, trees in _OWN.items() if hasattr(estimator, name)), None)
    return _booster_trees(estimator) if own is None else own


def splits(trees: list[Tree], rows: Rows, *, at_most: int) -> Iterator[Split]:
    """Splits of `trees` from the roots down, in equal shares and `at_most` in all, each with a row that gets there: one of `rows`,
    or where none does, one of them with the values that the splits above ask for.
    """
    share = max(1, at_most // max(1, len(trees)))
    for tree in trees:
        yield from _splits(tree, rows, share)


def _splits(tree: Tree, rows: Rows, share: int) -> Iterator[Split]:
    thresholds = tree.float32_threshold()
    way: _Step | None = None
    waiting: deque[tuple[int, Places, _Step | None]] = deque([(0, np.arange(len(rows)), way)])
    while waiting and share:
        node, here, way = waiting.popleft()
        if tree.leaf[node]:
            continue
        feature, threshold = int(tree.feature[node]), thresholds[node]
        missing_left = bool(tree.missing_left[node])
        values = rows[here, feature]
        missing = np.isnan(values)
        yield Split(feature, threshold, _representative(rows, here, missing, way))
        share -= 1
        goes_left = np.where(missing, missing_left, values <= threshold)
        for side, child, there in ((True, tree.left, goes_left), (False, tree.right, ~goes_left)):
            waiting.append((int(child[node]), here[there], _Step(feature, threshold, side, missing_left, way)))


def _representative(rows: Rows, here: Places, missing: npt.NDArray[np.bool_], way: _Step | None) -> Rows | None:
    # A row that has a value came by the thresholds above, so any value between them keeps it on its way.
    present = here[~missing]
    led = None if len(present) else _led(rows[0], way)
    if led is not None or not len(here):
        return led
    found: Rows = rows[int((present if len(present) else here)[0])]
    return found.copy()


def _led(row: Rows, way: _Step | None) -> Rows | None:
    """`row` with what the splits on the way ask for; None where they contradict each other."""
    bounds: dict[int, tuple[np.float32, np.float32, bool]] = {}
    while way is not None:
        low, high, missing = bounds.get(way.feature, (np.float32(-np.inf), np.float32(np.inf), True))
        missing = missing and way.missing_left == way.left
        sides = (low, min(high, way.threshold)) if way.left else (max(low, way.threshold), high)
        bounds[way.feature] = (*sides, missing)
        way = way.before
    led = row.copy()
    for feature, (low, high, missing) in bounds.items():
        if low < led[feature] <= high:
            continue
        if low >= high and not missing:
            return None
        led[feature] = np.nan if low >= high else high if np.isfinite(high) else np.nextafter(low, high)
    return led


def _trees_of_parts(estimator: Any) -> list[Tree]:
    """Of an ensemble: a forest's trees are averaged, those of gradient boosting are shrunk; of others the values are not known."""
    parts = np.ravel(np.asarray(estimator.estimators_, dtype=object))
    name = type(estimator).__module__
    if name.startswith("sklearn.ensemble._forest"):
        return [_plain_tree(part, 1 / len(parts)) for part in parts]
    if name.startswith("sklearn.ensemble._gb"):
        width = estimator.estimators_.shape[1]
        shrunk = [_plain_tree(part, estimator.learning_rate) for part in parts]
        return [replace(tree, target=place % width) for place, tree in enumerate(shrunk)]
    return [_bare(tree) for part in parts for tree in trees_of(part)]


def _bare(tree: Tree) -> Tree:
    return replace(tree, value=None)


def _boosted_trees(estimator: Any) -> list[Tree]:
    stages = estimator._predictors  # noqa: SLF001 - scikit-learn has no public view of them
    return [_boosted_tree(predictor.nodes, place) for stage in stages for place, predictor in enumerate(stage)]


def _boosted_tree(nodes: npt.NDArray[Any], target: int) -> Tree:
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(np.bool_),
        leaf=nodes["is_leaf"].astype(np.bool_),
        value=nodes["value"].astype(np.float64)[:, None],
        target=target,
    )


def _plain_tree(estimator: Any, weight: float) -> Tree:
    tree = estimator.tree_
    return Tree(
        feature=tree.feature.astype(np.int64),
        threshold=tree.threshold.astype(np.float64),
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        missing_left=tree.missing_go_to_left.astype(np.bool_),
        leaf=tree.children_left == -1,
        value=_values(estimator, tree) * weight,
    )


def _values(estimator: Any, tree: Any) -> Floats:
    """Of each node: its mean targets, or the shares of its classes; of two classes the second one's."""
    if not hasattr(estimator, "classes_"):
        return np.asarray(tree.value[:, :, 0], dtype=np.float64)
    counts = np.asarray(tree.value[:, 0, :], dtype=np.float64)
    shares: Floats = counts / counts.sum(axis=1, keepdims=True)
    return shares[:, 1:] if shares.shape[1] == 2 else shares  # noqa: PLR2004 - two classes


def _booster_trees(estimator: Any) -> list[Tree]:
    try:
        found = tree_sum_of(estimator)
    except InvalidInput:
        return []
    return found.trees if found else []


def _trees_of_calibrated(estimator: Any) -> list[Tree]:
    return [_bare(tree) for part in estimator.calibrated_classifiers_ for tree in trees_of(part.estimator)]


# What holds another estimator; and by which attribute those are known that hold trees.
_INSIDE: tuple[tuple[Callable[[Any], bool], Callable[[Any], Any]], ...] = (
    (is_runtime, lambda estimator: estimator.estimator),
    (lambda estimator: hasattr(estimator, "steps"), lambda estimator: estimator.steps[-1][1]),
)
_OWN: dict[str, Callable[[Any], list[Tree]]] = {
    "_predictors": _boosted_trees,
    "tree_": lambda estimator: [_plain_tree(estimator, 1.0)],
    "calibrated_classifiers_": _trees_of_calibrated,
    "estimators_": _trees_of_parts,
}
