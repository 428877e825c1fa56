"""Ensembles of random trees in ONNX, as strange as ONNX Runtime takes them."""

from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper

FIELDS = 5
# Numbers that are split at, and asked for: neighbours, zeros of both signs, the smallest, the largest, infinities.
NUMBERS = np.array(
    [
        0.0,
        -0.0,
        1.0,
        np.nextafter(np.float32(1), np.float32(2)),
        -1.5,
        1e-45,
        -1e-45,
        3e38,
        -3e38,
        2.5,
        np.inf,
        -np.inf,
    ],
    dtype=np.float32,
)


def random_rows(rng: np.random.Generator, count: int, *, missing: bool) -> np.ndarray:
    rows = rng.choice(NUMBERS, size=(count, FIELDS))
    if missing:
        rows[rng.random(rows.shape) < 0.2] = np.nan
    return rows.astype(np.float32)


def random_tree(rng: np.random.Generator, leaves: int, *, skewed: bool) -> tuple[list[int], list[int], list[bool]]:
    """Children of each node by number, and whether it is a leaf; numbers are those of no order."""
    left, right, leaf = [0], [0], [True]
    ends = [0]
    while len(ends) < leaves:
        at = ends.pop(-1 if skewed else int(rng.integers(len(ends))))
        left[at], right[at], leaf[at] = len(left), len(left) + 1, False
        for _ in range(2):
            ends.append(len(left))
            left.append(0)
            right.append(0)
            leaf.append(True)
    return left, right, leaf


def random_model(rng: np.random.Generator, sizes: list[int], **how: Any) -> bytes:
    """`sizes` are the trees' leaves. Of `how`: `classifier`, `targets`, `all_targets` (each leaf adds to each of them), `transform`, `average`, `base`,
    `modes`, `missing` (splits say where missing values go), `skewed`, `mixed` (nodes are told in another order than numbered), `negative`.
    """
    table: dict[str, list[Any]] = {f"nodes_{name}": [] for name in _NODES}
    weights: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for tree, leaves in enumerate(sizes):
        left, right, leaf = random_tree(rng, leaves, skewed=how.get("skewed", False))
        order = [0, *(1 + rng.permutation(len(left) - 1)).tolist()] if how.get("mixed") else list(range(len(left)))
        for node in order:
            table["nodes_treeids"].append(7 * tree)
            table["nodes_nodeids"].append(node)
            table["nodes_modes"].append("LEAF" if leaf[node] else str(rng.choice(how.get("modes", ["BRANCH_LEQ"]))))
            table["nodes_featureids"].append(int(rng.integers(FIELDS)))
            lowest = table["nodes_modes"][-1] == "BRANCH_LT"  # nothing is less than -inf
            table["nodes_values"].append(float(rng.choice(NUMBERS[:-1] if lowest else NUMBERS)))
            table["nodes_truenodeids"].append(left[node])
            table["nodes_falsenodeids"].append(right[node])
            if how.get("missing"):
                table["nodes_missing_value_tracks_true"].append(int(rng.integers(2)))
            ids = range(how["targets"]) if how.get("all_targets") else [tree % how["targets"]]
            for target in ids if leaf[node] else []:
                value = rng.normal() * 10.0 ** rng.integers(-3, 2)
                row = (7 * tree, node, target, float(value if how.get("negative", True) else abs(value)))
                for column, one in zip(weights.values(), row, strict=True):
                    column.append(one)
    if not how.get("missing"):
        del table["nodes_missing_value_tracks_true"]
    prefix = "class" if how.get("classifier") else "target"
    told = {**table, **{f"{prefix}_{name}": column for name, column in weights.items()}, **_further(rng, how)}
    kind = "TreeEnsembleClassifier" if how.get("classifier") else "TreeEnsembleRegressor"
    return model_of(kind, told)


_NODES = (
    "treeids",
    "nodeids",
    "modes",
    "featureids",
    "values",
    "truenodeids",
    "falsenodeids",
    "missing_value_tracks_true",
)


def _further(rng: np.random.Generator, how: dict[str, Any]) -> dict[str, Any]:
    further: dict[str, Any] = {"post_transform": how.get("transform", "NONE")}
    if how.get("base"):
        further["base_values"] = [float(one) for one in rng.normal(size=how["targets"])]
    if how.get("classifier"):
        further["classlabels_int64s"] = list(range(max(2, how["targets"])))
    else:
        further["n_targets"] = how["targets"]
        further["aggregate_function"] = "AVERAGE" if how.get("average") else "SUM"
    return further


def model_of(kind: str, told: dict[str, Any]) -> bytes:
    outputs = ["label", "scores"] if kind == "TreeEnsembleClassifier" else ["scores"]
    told = {name: value for name, value in told.items() if value != []}  # an empty list has no type
    node = helper.make_node(kind, ["rows"], outputs, domain="ai.onnx.ml", **told)
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, FIELDS])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, None])],
    )
    opsets = (helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3))
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def session_of(content: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def told_by(content: bytes) -> dict[str, Any]:
    """What the ensemble's attributes say, to change it."""
    (node,) = ModelProto.FromString(content).graph.node
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}
