"""The trees in LightGBM's text format."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from loopline.models.tree import Tree, lone_leaf
from loopline.models.tree_sum import Link, TreeSum, refused

_LIBRARY = "LightGBM"
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_SHIFT, _MISSING_MASK = 2, 3
_ZERO, _NAN = 1, 2  # what counts as missing; 0 is nothing: NaN is then read as 0

_TINY = float(np.float32(1e-35))

_LINKS: dict[str, Link] = {
    "binary": "logistic",
    "cross_entropy": "logistic",
    "xentropy": "logistic",
    "multiclass": "softmax",
    "softmax": "softmax",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape"), "identity"),
    **dict.fromkeys(("lambdarank", "rank_xendcg", "custom", "none", ""), "identity"),
}


def read_lightgbm(content: bytes) -> TreeSum:
    """The trees of a booster as `model_to_string` writes it.

    Raises `InvalidInput` "model.not_trees" for what such trees cannot say: splits by sets of categories, linear leaves, zero
    as missing, and objectives whose function is not known.
    """
    head, *parts = content.decode().split("\nTree=")
    facts = _facts(head)
    link, slope = _link(facts.get("objective", ""))
    width = int(facts.get("num_tree_per_iteration", "1"))
    last = parts[-1].partition("\nend of trees")[0] if parts else ""
    found = [_tree(_facts(part), place % width) for place, part in enumerate([*parts[:-1], last]) if part]
    averaged = len(found) // width if "average_output" in head.splitlines() else 1
    trees = [_scaled(tree, slope / averaged) for tree in found]
    return TreeSum(trees, (0.0,) * width, link)


def _facts(text: str) -> dict[str, str]:
    return {name: value for name, mark, value in (line.partition("=") for line in text.splitlines()) if mark}


def _link(objective: str) -> tuple[Link, float]:
    """The function of the sum, and what the sum is multiplied by before."""
    name, *options = objective.split() or [""]
    said = dict(option.partition(":")[::2] for option in options)
    if name not in _LINKS or "sqrt" in said:
        raise refused(_LIBRARY, f"models of objective {objective!r}")
    return _LINKS[name], float(said.get("sigmoid", "1"))


def _tree(facts: Mapping[str, str], target: int) -> Tree:
    if facts.get("is_linear", "0") != "0":
        raise refused(_LIBRARY, "linear leaves")
    values = _numbers(facts["leaf_value"])
    if "split_feature" not in facts or not facts["split_feature"]:
        return lone_leaf(values[:1], target)
    decision = _numbers(facts["decision_type"]).astype(np.int64)
    if np.any(decision & _CATEGORICAL):
        raise refused(_LIBRARY, "splits by sets of categories (categorical_feature)")
    inner, leaves = len(decision), len(values)
    threshold = _around_zero(_numbers(facts["threshold"]))
    padding = np.zeros(leaves, dtype=np.int64)
    return Tree(
        feature=np.concatenate([_numbers(facts["split_feature"]).astype(np.int64), padding]),
        threshold=np.concatenate([threshold, padding]),
        left=np.concatenate([_places(facts["left_child"], inner), padding]),
        right=np.concatenate([_places(facts["right_child"], inner), padding]),
        missing_left=np.concatenate([_missing_left(decision, threshold), padding.astype(np.bool_)]),
        leaf=np.arange(inner + leaves) >= inner,
        value=np.concatenate([np.zeros(inner), values])[:, None],
        target=target,
    )


def _around_zero(threshold: np.ndarray) -> np.ndarray:
    """LightGBM reads numbers as small as `_TINY` as 0, so a threshold among them splits all of them to one side."""
    left = np.where((threshold >= 0) & (threshold < _TINY), _TINY, threshold)
    return np.where((left < 0) & (left >= -_TINY), np.nextafter(-np.float32(_TINY), np.float32(-np.inf)), left)


def _missing_left(decision: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    kind = (decision >> _MISSING_SHIFT) & _MISSING_MASK
    by_default = (decision & _DEFAULT_LEFT) > 0
    zero_left = threshold >= 0
    if np.any((kind == _ZERO) & (by_default != zero_left)):
        raise refused(_LIBRARY, "splits that send zero as missing (zero_as_missing)")
    return np.where(kind == _NAN, by_default, zero_left)


def _places(children: str, inner: int) -> np.ndarray:
    """Splits as they are numbered, leaves (-1, -2, ...) behind them."""
    found = _numbers(children).astype(np.int64)
    return np.where(found < 0, inner - 1 - found, found)


def _numbers(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=np.float64)


def _scaled(tree: Tree, by: float) -> Tree:
    return tree if by == 1 or tree.value is None else replace(tree, value=tree.value * by)
