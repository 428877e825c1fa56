"""The trees inside an ONNX graph, as the conditions of their leaves."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from loopline.evaluation.tree_shapley import MOST_FIELDS, Leaves
from loopline.models.tree_ensembles import ensembles_of, prefix_of, table_of

_LESS_OR_EQUAL, _LESS, _LEAF = "BRANCH_LEQ", "BRANCH_LT", "LEAF"

# A leaf's conditions: field to (low, high, whether a missing value gets there).
_Path = dict[int, tuple[np.float32, np.float32, bool]]


def leaves_of(content: bytes) -> Leaves | None:
    """The leaves of the one ensemble in an ONNX model that gives one number a row; None for any other graph.

    Whether the model's score follows from the sum of these leaves, and how, is for the caller to try.
    """
    ensembles = list(ensembles_of(ModelProto.FromString(content)))
    if len(ensembles) != 1:
        return None
    table, prefix = table_of(ensembles[0]), prefix_of(ensembles[0])
    modes = {mode.decode() for mode in table["nodes_modes"]}
    if not modes <= {_LESS_OR_EQUAL, _LESS, _LEAF} or len(set(table[f"{prefix}_ids"])) != 1:
        return None
    return _leaves(table, prefix)


def _leaves(table: Mapping[str, Any], prefix: str) -> Leaves | None:
    weights = dict(
        zip(
            zip(table[f"{prefix}_treeids"], table[f"{prefix}_nodeids"], strict=True),
            table[f"{prefix}_weights"],
            strict=True,
        )
    )
    paths = [(weights.get(leaf, 0.0), path) for leaf, path in _paths(table)]
    widest = max((len(path) for _, path in paths), default=0)
    if widest > MOST_FIELDS - 1:
        return None
    return _stacked(paths, max(widest, 1), float(sum(table.get("base_values", []))))


def _paths(table: Mapping[str, Any]) -> Iterator[tuple[tuple[int, int], _Path]]:
    """Every leaf, by tree and node, with its path."""
    trees, nodes = np.asarray(table["nodes_treeids"]), np.asarray(table["nodes_nodeids"])
    place = {key: at for at, key in enumerate(zip(trees.tolist(), nodes.tolist(), strict=True))}
    roots = np.flatnonzero(np.diff(trees, prepend=trees[0] - 1)) if len(trees) else trees
    missing = table.get("nodes_missing_value_tracks_true") or [0] * len(trees)
    waiting: list[tuple[int, _Path]] = [(int(root), {}) for root in roots[::-1]]
    while waiting:
        at, path = waiting.pop()
        tree, mode = int(trees[at]), table["nodes_modes"][at].decode()
        if mode == _LEAF:
            yield (tree, int(nodes[at])), path
            continue
        field, threshold = int(table["nodes_featureids"][at]), _threshold(table["nodes_values"][at], mode)
        low, high, along = path.get(field, (np.float32(-np.inf), np.float32(np.inf), True))
        tracks = bool(missing[at])
        left = path | {field: (low, min(high, threshold), along and tracks)}
        right = path | {field: (max(low, threshold), high, along and not tracks)}
        waiting.append((place[tree, int(table["nodes_falsenodeids"][at])], right))
        waiting.append((place[tree, int(table["nodes_truenodeids"][at])], left))


def _threshold(value: float, mode: str) -> np.float32:
    """The greatest value that goes left."""
    threshold = np.float32(value)
    return threshold if mode == _LESS_OR_EQUAL else np.nextafter(threshold, np.float32(-np.inf))


def _stacked(paths: list[tuple[float, _Path]], widest: int, base: float) -> Leaves:
    shape = (len(paths), widest)
    field = np.full(shape, -1, dtype=np.int64)
    low: npt.NDArray[np.float32] = np.full(shape, -np.inf, dtype=np.float32)
    high: npt.NDArray[np.float32] = np.full(shape, np.inf, dtype=np.float32)
    missing = np.ones(shape, dtype=np.bool_)
    for leaf, (_, path) in enumerate(paths):
        for place, (name, (lowest, highest, along)) in enumerate(path.items()):
            field[leaf, place], missing[leaf, place] = name, along
            low[leaf, place], high[leaf, place] = lowest, highest
    return Leaves(np.array([value for value, _ in paths], dtype=np.float64), field, low, high, missing, base)
