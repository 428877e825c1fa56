"""A small graph of models that answers as one: which model takes what, and how their outputs are combined."""

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.evaluation.kind import Output
from loopline.models.estimator import widened
from loopline.models.runtimes.runtime import Floats, Format, Runtime

How = Literal["mean", "max"]


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a graph. A node with a `model`, the place of its bytes among the package's, takes the row's fields and then the
    scores of the nodes `after` which it comes; a node without combines the outputs of these: their mean, weighted by
    `weights` that add up to 1, or their max.
    """

    output: Output
    model: int | None = None
    format: Format = "onnx"
    class_places: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    how: How = "mean"
    weights: tuple[float, ...] = ()


class GraphModel:
    """The models of a graph as one `Runtime`: nodes in order, each after those it needs, the last of which answers."""

    def __init__(self, nodes: Sequence[Node], models: Sequence[Runtime]) -> None:
        self._nodes, self._models = tuple(nodes), tuple(models)

    def outputs(self, matrix: npt.NDArray[np.float32]) -> Floats:
        """As `Runtime` says."""
        found: list[Floats] = []
        for node in self._nodes:
            before = [found[place] for place in node.after]
            if node.model is None:
                found.append(combined(before, node.weights, node.how))
                continue
            taken = extended(matrix, before, [self._nodes[place].output for place in node.after])
            found.append(widened(self._models[node.model].outputs(taken), node.class_places, node.output))
        return found[-1]


def combined(outputs: Sequence[Floats], weights: Sequence[float], how: How) -> Floats:
    """The mean of outputs of one shape, weighted by `weights` that add up to 1, or in each place the greatest."""
    if how == "max":
        greatest: Floats = np.maximum.reduce(list(outputs))
        return greatest
    total = weights[0] * outputs[0]
    for weight, one in zip(weights[1:], outputs[1:], strict=True):
        total = total + weight * one
    return total


def extended(
    matrix: npt.NDArray[np.float32], before: Sequence[Floats], outputs: Sequence[Output]
) -> npt.NDArray[np.float32]:
    """`matrix` (n, k) with a column more for each of `before`: its scores as float32."""
    if not before:
        return matrix
    scores = [output.scores(one).astype(np.float32) for one, output in zip(before, outputs, strict=True)]
    return np.ascontiguousarray(np.column_stack([matrix, *scores]))
