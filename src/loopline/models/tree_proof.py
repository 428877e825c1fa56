"""Proof that an ONNX graph holds the very trees of an estimator: node by node, however little a difference would show in scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from loopline.errors import InvalidInput
from loopline.models.tree import Tree
from loopline.models.tree_ensembles import Table, ensembles_of, table_of

_ROUNDING = 4e-7  # relative: a weight is divided and rounded to float32
_LEAF, _SPLIT = b"LEAF", b"BRANCH_LEQ"


def compare_trees(content: bytes, trees: Sequence[Tree]) -> int:
    """How many nodes of the graph in `content` were found to be those of `trees`: all of them, or none where the two cannot be
    compared since the graph has another number of trees or numbers their nodes otherwise.

    Compared are the modes, fields, float32 thresholds, children and ways of missing values of splits, and where trees know them, the
    values of leaves for each output. Raises `InvalidInput` "model.trees_differ" naming the first node that differs.
    """
    ensembles = [table_of(node) for node in ensembles_of(ModelProto.FromString(content))]
    if [size for table in ensembles for size in tree_sizes(table)] != [len(tree.leaf) for tree in trees]:
        return 0
    waiting = list(trees)
    for table in ensembles:
        count = len(tree_sizes(table))
        own, waiting = waiting[:count], waiting[count:]
        _compare_splits(table, own)
        _compare_leaves(table, own)
    return sum(len(tree.leaf) for tree in trees)


def tree_sizes(table: Table) -> list[int]:
    """How many nodes each tree has, in the graph's order; nothing where nodes are not numbered from 0 in each."""
    trees = np.asarray(table["nodes_treeids"])
    nodes = np.asarray(table["nodes_nodeids"])
    _, sizes = np.unique(trees, return_counts=True)
    in_order = np.array_equal(trees, np.repeat(np.arange(len(sizes)), sizes))
    numbered = np.array_equal(nodes, np.concatenate([np.arange(size) for size in sizes]))
    return [int(size) for size in sizes] if in_order and numbered else []


def _compare_splits(table: Table, trees: Sequence[Tree]) -> None:
    leaf = np.concatenate([tree.leaf for tree in trees])
    modes = np.array(table["nodes_modes"], dtype=object)
    expected: dict[str, tuple[str, list[npt.NDArray[Any]]]] = {
        "nodes_featureids": ("field", [tree.feature for tree in trees]),
        "nodes_values": ("threshold", [tree.float32_threshold() for tree in trees]),
        "nodes_missing_value_tracks_true": ("way of missing values", [tree.missing_left for tree in trees]),
        "nodes_truenodeids": ("left child", [tree.left for tree in trees]),
        "nodes_falsenodeids": ("right child", [tree.right for tree in trees]),
    }
    _require_same("kind", modes, np.where(leaf, _LEAF, _SPLIT).astype(object), trees)
    for name, (told, parts) in expected.items():
        found = np.asarray(table.get(name) or [0] * len(leaf), dtype=np.float64)
        wanted = np.concatenate(parts).astype(np.float64)
        _require_same(told, np.where(leaf, 0, found), np.where(leaf, 0, wanted), trees)


def _require_same(told: str, found: npt.NDArray[Any], wanted: npt.NDArray[Any], trees: Sequence[Tree]) -> None:
    different = np.flatnonzero(found != wanted)
    if len(different):
        place = int(different[0])
        ends = np.cumsum([len(tree.leaf) for tree in trees])
        tree = int(np.searchsorted(ends, place, side="right"))
        node = place - int(ends[tree]) + len(trees[tree].leaf)
        raise _failed(tree, node, told, found[place], wanted[place])


def _compare_leaves(table: Table, trees: Sequence[Tree]) -> None:
    prefix = "class" if "class_ids" in table else "target"
    keys = (table[f"{prefix}_treeids"], table[f"{prefix}_nodeids"], table[f"{prefix}_ids"])
    weights = dict(zip(zip(*keys, strict=True), table[f"{prefix}_weights"], strict=True))
    known = 0
    for place, tree in enumerate(trees):
        if tree.value is None:
            return
        for node in np.flatnonzero(tree.leaf).tolist():
            for number, wanted in enumerate(tree.value[node].tolist()):
                found = weights.get((place, node, tree.target + number), 0.0)
                if abs(found - wanted) > _ROUNDING * abs(wanted):
                    raise _failed(place, node, "leaf", found, wanted)
                known += (place, node, tree.target + number) in weights
    if known < len(weights):
        raise _failed(0, 0, "number of leaves' values", len(weights), known)


def _failed(tree: int, node: int, told: str, found: Any, wanted: Any) -> InvalidInput:
    return InvalidInput(
        "model.trees_differ",
        f"tree {tree} of the compiled model has another {told} at node {node} than the estimator: {_short(found)}, not {_short(wanted)}",
        remedy="The model serves in its own format. Please report the estimator: its conversion to ONNX is wrong.",
        kind="trees",
        tree=tree,
        node=node,
    )


def _short(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else f"{float(value):.9g}"
