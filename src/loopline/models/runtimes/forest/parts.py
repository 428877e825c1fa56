"""An ONNX graph cut in three: what leads to its one tree ensemble, the ensemble, and what is made of its scores."""

from collections.abc import Iterable
from dataclasses import dataclass

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from loopline.models.runtimes.forest.shape import NotTaken, require
from loopline.models.tree_ensembles import ensembles_of


@dataclass(frozen=True)
class Parts:
    """`before` gives what the ensemble takes, `after` makes the graph's outputs of what it gives; None where there is nothing to do."""

    ensemble: NodeProto
    before: ModelProto | None
    after: ModelProto | None

    @property
    def takes(self) -> str:
        """The name of what the ensemble takes."""
        return str(self.ensemble.input[0])

    @property
    def gives(self) -> str:
        """The name of its scores: the second output of a classifier, whose first is the label."""
        return str(self.ensemble.output[-1])


def parts_of(model: ModelProto, wanted: list[str]) -> Parts:
    """The three parts, as far as the outputs `wanted` need them. Gives up with `NotTaken` where scores alone do not lead to them."""
    ensembles = list(ensembles_of(model))
    require(len(ensembles) == 1 and not model.functions and not model.graph.sparse_initializer, "a graph")
    require(not any(_holds_graphs(node) for node in model.graph.node), "graphs inside the graph")
    parts = Parts(ensembles[0], None, None)
    before = _between(model.graph, [parts.takes], {one.name for one in model.graph.input})
    after = [] if _passes_on(model.graph, parts.gives, wanted) else _between(model.graph, wanted, {parts.gives})
    outputs = [one for name in wanted for one in model.graph.output if one.name == name]
    return Parts(
        ensembles[0],
        _part(model, before, model.graph.input, [_floats(parts.takes)]) if before else None,
        _part(model, after, [_floats(parts.gives)], outputs) if after else None,
    )


def alone(model: ModelProto, parts: Parts) -> ModelProto:
    """The ensemble as a model of its own."""
    return _part(model, [parts.ensemble], [_floats(parts.takes)], [_floats(parts.gives)])


def _holds_graphs(node: NodeProto) -> bool:
    return any(one.type in {AttributeProto.GRAPH, AttributeProto.GRAPHS} for one in node.attribute)


def _between(graph: GraphProto, wanted: Iterable[str], given: set[str]) -> list[NodeProto]:
    """The nodes that make the wanted of the given, in the graph's order."""
    makers = {name: place for place, node in enumerate(graph.node) for name in node.output}
    known = given | {one.name for one in graph.initializer}
    places: set[int] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name in known or not name:
            continue
        if name not in makers:
            raise NotTaken("a value that the trees do not give")
        if makers[name] not in places:
            places.add(makers[name])
            waiting += graph.node[makers[name]].input
    return [graph.node[place] for place in sorted(places)]


def _passes_on(graph: GraphProto, given: str, wanted: list[str]) -> bool:
    """Whether the one value that is wanted is the given one itself."""
    sources = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    name = wanted[0]
    while name != given and name in sources:
        name = sources.pop(name)
    return len(wanted) == 1 and name == given


def _floats(name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def _part(
    model: ModelProto, nodes: list[NodeProto], inputs: Iterable[ValueInfoProto], outputs: Iterable[ValueInfoProto]
) -> ModelProto:
    used = {name for node in nodes for name in node.input}
    constants = [one for one in model.graph.initializer if one.name in used]
    graph = helper.make_graph(nodes, "part", list(inputs), list(outputs), initializer=constants)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
