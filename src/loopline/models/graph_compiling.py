"""From an ensemble or a chain to the nodes of a graph, each model proven by itself, and then the whole."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.models import parity
from loopline.models.compiling import compiled, formats_of, joined
from loopline.models.ensemble import Chain, Ensemble, chained, output_of
from loopline.models.estimator import class_places, library_of
from loopline.models.graph import GraphModel, Node
from loopline.models.libraries import libraries_of
from loopline.models.package import Parity
from loopline.models.runtimes.opening import open_model
from loopline.models.signature import Field, Signature

Rows = npt.NDArray[np.float32]


class CompiledGraph(NamedTuple):
    """The nodes, the bytes of their models, the proof of all, why models are not in faster formats, and versions of libraries."""

    nodes: list[Node]
    contents: list[bytes]
    proof: Parity
    refused: dict[str, str]
    libraries: dict[str, str]


def is_graph(estimator: Any) -> bool:
    """Whether it is made of several models."""
    return isinstance(estimator, (Ensemble, Chain))


def compiled_graph(estimator: Any, signature: Signature, rows: Rows, tolerance: float) -> CompiledGraph:
    """An `Ensemble` or `Chain` over `rows` (n, fields), proven model by model, then as a whole.

    What a chain's first model gives is an input of the second, where a difference in the last bit may change a branch: if the whole
    is not proven with compiled models, it is tried again with all models in their libraries' formats. Raises `InvalidInput` where
    that is not proven either.
    """
    try:
        return _graph(estimator, signature, rows, tolerance, native=False)
    except InvalidInput as error:
        made = _graph(estimator, signature, rows, tolerance, native=True)
        return made._replace(refused={"onnx": error.message, **made.refused})


def _graph(estimator: Any, signature: Signature, rows: Rows, tolerance: float, *, native: bool) -> CompiledGraph:
    maker = _Maker(tolerance, native=native)
    maker.add(estimator, signature, rows, signature.output)
    opened = [
        open_model(node.format, maker.contents[node.model], node.output)
        for node in maker.nodes
        if node.model is not None
    ]
    whole = parity.prove(estimator, GraphModel(maker.nodes, opened), signature, rows, tolerance, signature.output)
    return CompiledGraph(maker.nodes, maker.contents, joined([whole, *maker.proofs]), maker.refused, maker.libraries)


class _Maker:
    """Collects nodes in the order in which they run."""

    def __init__(self, tolerance: float, *, native: bool) -> None:
        self.nodes: list[Node] = []
        self.contents: list[bytes] = []
        self.proofs: list[Parity] = []
        self.refused: dict[str, str] = {}
        self.libraries: dict[str, str] = {}
        self._tolerance, self._native = tolerance, native

    def add(self, estimator: Any, signature: Signature, rows: Rows, output: Output, after: Sequence[int] = ()) -> int:
        """The place of the node that gives what `estimator` gives for `rows`."""
        if isinstance(estimator, Ensemble):
            places = tuple(self.add(one, signature, rows, output, after) for one in estimator.members)
            node = Node(output=output, after=places, how=estimator.how, weights=estimator.weights)
        elif isinstance(estimator, Chain):
            first = self.add(estimator.first, signature, rows, output_of(estimator.first), after)
            name = f"score of model {first}"
            wider = Signature(fields=(*signature.fields, Field(name=name, kind="number", given=False)), output=output)
            return self.add(estimator.second, wider, chained(estimator.first, rows), output, (*after, first))
        else:
            node = self._model(estimator, signature, rows, output, tuple(after))
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _model(self, estimator: Any, signature: Signature, rows: Rows, output: Output, after: tuple[int, ...]) -> Node:
        formats = formats_of(estimator)[-1:] if self._native else formats_of(estimator)
        made = compiled([(estimator, output)], signature, rows, self._tolerance, formats)
        self.contents += made.contents
        self.proofs += made.proofs
        place = len(self.contents) - 1
        self.refused |= {f"{name} (model {place})": reason for name, reason in made.refused.items()}
        self.libraries |= libraries_of(made.format, library_of(estimator))
        places = class_places(estimator, output)
        return Node(output=output, model=place, format=made.format, class_places=places, after=after)
