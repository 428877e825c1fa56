"""A booster as what it is: trees whose leaves add up, and a function of the sum."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from onnx import TensorProto, helper

from loopline.errors import InvalidInput
from loopline.models.tree import Tree

Link = Literal["identity", "logistic", "softmax", "exp"]

_OPSETS = (helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3))
_IR_VERSION = 8
# ONNX Runtime leaves a LOGISTIC of one number out of the ensemble's own transforms; a node of its own is not left out.
_AFTER: dict[Link, str] = {"logistic": "Sigmoid", "exp": "Exp"}


@dataclass(frozen=True)
class TreeSum:
    """Trees with the values of their leaves; `base` is added to the sum, one number an output, and `link` makes of it what the
    model gives back.
    """

    trees: list[Tree]
    base: tuple[float, ...]
    link: Link

    def to_onnx(self, features: int) -> bytes:
        """As ONNX: input `rows` float32 (n, features), output `outputs` float32 (n, number of outputs)."""
        after = _AFTER.get(self.link)
        attributes: dict[str, Any] = {**_nodes(self.trees), **_leaves(self.trees)}
        nodes = [
            helper.make_node(
                "TreeEnsembleRegressor",
                ["rows"],
                ["sums" if after else "outputs"],
                domain="ai.onnx.ml",
                post_transform="SOFTMAX" if self.link == "softmax" else "NONE",
                n_targets=len(self.base),
                base_values=list(self.base),
                **attributes,
            )
        ]
        if after:
            nodes.append(helper.make_node(after, ["sums"], ["outputs"]))
        graph = helper.make_graph(
            nodes,
            "model",
            [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, features])],
            [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, [None, len(self.base)])],
        )
        model = helper.make_model(graph, opset_imports=_OPSETS, ir_version=_IR_VERSION, producer_name="loopline")
        return bytes(model.SerializeToString(deterministic=True))


def refused(library: str, what: str) -> InvalidInput:
    """The error for a booster that `TreeSum` cannot say."""
    return InvalidInput(
        "model.not_trees",
        f"{library}'s {what} do not become ONNX here",
        remedy="It serves in its own format all the same.",
    )


def _nodes(trees: list[Tree]) -> dict[str, list[Any]]:
    sizes = [len(tree.leaf) for tree in trees]
    leaf = np.concatenate([tree.leaf for tree in trees])

    def inner(parts: list[Any], dtype: type[np.generic]) -> list[Any]:
        """What splits say; a leaf says nothing."""
        found: list[Any] = np.where(leaf, 0, np.concatenate(parts)).astype(dtype).tolist()
        return found

    return {
        "nodes_treeids": np.repeat(np.arange(len(trees)), sizes).tolist(),
        "nodes_nodeids": np.concatenate([np.arange(size) for size in sizes]).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_featureids": inner([tree.feature for tree in trees], np.int64),
        "nodes_values": inner([tree.float32_threshold() for tree in trees], np.float32),
        "nodes_truenodeids": inner([tree.left for tree in trees], np.int64),
        "nodes_falsenodeids": inner([tree.right for tree in trees], np.int64),
        "nodes_missing_value_tracks_true": inner([tree.missing_left for tree in trees], np.int64),
    }


def _leaves(trees: list[Tree]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {
        "target_treeids": [],
        "target_nodeids": [],
        "target_ids": [],
        "target_weights": [],
    }
    for place, tree in enumerate(trees):
        if tree.value is None:
            raise ValueError("a tree of a sum holds the values of its leaves")
        width = tree.value.shape[1]
        leaves = np.flatnonzero(tree.leaf)
        found["target_treeids"] += [place] * (len(leaves) * width)
        found["target_nodeids"] += np.repeat(leaves, width).tolist()
        found["target_ids"] += np.tile(tree.target + np.arange(width), len(leaves)).tolist()
        found["target_weights"] += tree.value[leaves].astype(np.float32).ravel().tolist()
    return found
