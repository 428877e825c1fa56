"""The trees in XGBoost's JSON format."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from loopline.models.tree import Tree
from loopline.models.tree_sum import Link, TreeSum, refused

_LIBRARY = "XGBoost"
_LINKS: dict[str, Link] = {
    **dict.fromkeys(("binary:logistic", "reg:logistic"), "logistic"),
    "multi:softprob": "softmax",
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), "exp"),
    **dict.fromkeys(("reg:squarederror", "reg:absoluteerror", "reg:quantileerror", "reg:pseudohubererror"), "identity"),
    **dict.fromkeys(("rank:ndcg", "rank:pairwise", "rank:map", "binary:logitraw", "reg:squaredlogerror"), "identity"),
}


def read_xgboost(content: bytes) -> TreeSum:
    """The trees of a booster as `save_raw("json")` writes it, up to its best iteration.

    Raises `InvalidInput` "model.not_trees" for what such trees cannot say: splits by categories, boosters without trees,
    leaves of several outputs, and objectives whose function is not known.
    """
    learner = json.loads(content)["learner"]
    link = _link(learner["objective"]["name"])
    booster = learner["gradient_booster"]
    weights = booster.get("weight_drop")
    inside = booster["gbtree"] if booster["name"] == "dart" else booster
    if booster["name"] not in {"gbtree", "dart"}:
        raise refused(_LIBRARY, f"boosters of kind {booster['name']}")
    model = inside["model"]
    trees = [
        _tree(tree, target, weights[place] if weights else 1.0)
        for place, (tree, target) in enumerate(zip(model["trees"], model["tree_info"], strict=True))
    ]
    return TreeSum(trees[: _used(learner, model)], _base(learner["learner_model_param"], link), link)


def _link(objective: str) -> Link:
    if objective not in _LINKS:
        raise refused(_LIBRARY, f"models of objective {objective!r}")
    return _LINKS[objective]


def _used(learner: Mapping[str, Any], model: Mapping[str, Any]) -> int:
    best = learner["attributes"].get("best_iteration")
    ends = model["iteration_indptr"]
    return int(ends[-1] if best is None else ends[int(best) + 1])


def _base(param: Mapping[str, str], link: Link) -> tuple[float, ...]:
    """What the sum begins with; the file holds what it comes to, as the model gives it back."""
    width = max(1, int(param["num_class"]), int(param.get("num_target", "1")))
    said = [float(np.float32(one)) for one in param["base_score"].strip("[]").split(",")]
    whole = said if len(said) == width else said * width
    if link == "logistic":
        return tuple(math.log(one / (1 - one)) for one in whole)
    return tuple(math.log(one) for one in whole) if link == "exp" else tuple(whole)


def _tree(tree: Mapping[str, Any], target: int, weight: float) -> Tree:
    if tree["categories_nodes"] or any(tree["split_type"]):
        raise refused(_LIBRARY, "splits by categories (enable_categorical)")
    if int(tree["tree_param"].get("size_leaf_vector", "1")) > 1:
        raise refused(_LIBRARY, "leaves of several outputs (multi_strategy)")
    left = np.array(tree["left_children"], dtype=np.int64)
    conditions = np.array(tree["split_conditions"], dtype=np.float32)
    leaf = left == -1
    below = np.nextafter(conditions, np.float32(-np.inf))  # a value goes left where it is less, not where it is equal
    return Tree(
        feature=np.array(tree["split_indices"], dtype=np.int64),
        threshold=np.where(leaf, 0, below).astype(np.float64),
        left=np.where(leaf, 0, left),
        right=np.where(leaf, 0, np.array(tree["right_children"], dtype=np.int64)),
        missing_left=np.array(tree["default_left"], dtype=np.bool_),
        leaf=leaf,
        value=np.where(leaf, conditions.astype(np.float64) * weight, 0)[:, None],
        target=target,
    )
