"""The tree ensembles of an ONNX graph, as what their attributes say."""

from collections.abc import Iterator
from typing import Any

from onnx import ModelProto, NodeProto, helper

CLASSIFIER, REGRESSOR = "TreeEnsembleClassifier", "TreeEnsembleRegressor"

# The name of an attribute to its value: one entry a node of the trees, or a leaf's weight.
Table = dict[str, Any]


def ensembles_of(model: ModelProto) -> Iterator[NodeProto]:
    """The nodes that are tree ensembles, in the graph's order."""
    return (node for node in model.graph.node if node.op_type in {CLASSIFIER, REGRESSOR})


def table_of(node: NodeProto) -> Table:
    """What an ensemble's attributes say; those without a type say nothing."""
    return {one.name: helper.get_attribute_value(one) for one in node.attribute if one.type}


def prefix_of(node: NodeProto) -> str:
    """How the names of those attributes begin that say what leaves add."""
    return "class" if node.op_type == CLASSIFIER else "target"
