"""Where two packages differ: field by field, and tree by tree."""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from onnx import ModelProto

from loopline.models.package import ModelPackage
from loopline.storage.artifacts import ArtifactStore

_ENSEMBLE = "TreeEnsemble"
_LISTED, _LONGEST = 50, 100
_TREE_OF = ("nodes_treeids", "class_treeids", "target_treeids")


class Trees(msgspec.Struct, frozen=True):
    """How many trees two models have, and in how many of those that both have any node or leaf differs; the first of these."""

    before: int
    after: int
    different: int
    first: int | None


def package_differences(before: ModelPackage, after: ModelPackage) -> list[str]:
    """A line for each field of the packages whose value differs, such as `libraries.numpy: 2.1.0, now 2.2.0`."""
    pairs = dict(_flat("", msgspec.to_builtins(before))), dict(_flat("", msgspec.to_builtins(after)))
    names = dict.fromkeys([*pairs[0], *pairs[1]])
    return [
        f"{name}: {_short(pairs[0].get(name))}, now {_short(pairs[1].get(name))}"
        for name in names
        if pairs[0].get(name) != pairs[1].get(name)
    ]


def tree_differences(
    before: ModelPackage, after: ModelPackage, artifacts: ArtifactStore, rebuilt: ArtifactStore
) -> Trees | None:
    """The trees of the two models compared, `before` from `artifacts`, `after` from `rebuilt`; None for what has no trees in ONNX."""
    if before.format != "onnx" or after.format != "onnx":
        return None
    old = [tree for content in before.models for tree in _trees(artifacts.get(content))]
    new = [tree for content in after.models for tree in _trees(rebuilt.get(content))]
    if not old and not new:
        return None
    different = [place for place, (one, other) in enumerate(zip(old, new, strict=False)) if one != other]
    return Trees(len(old), len(new), len(different), different[0] if different else None)


def _trees(content: bytes) -> Iterator[dict[str, list[Any]]]:
    """What each tree says, attribute by attribute."""
    for node in ModelProto.FromString(content).graph.node:
        if node.op_type.startswith(_ENSEMBLE):
            yield from _split({one.name: [*one.ints, *one.floats, *one.strings] for one in node.attribute})


def _split(attributes: dict[str, list[Any]]) -> Iterator[dict[str, list[Any]]]:
    owners = {name: np.asarray(attributes[name]) for name in _TREE_OF if name in attributes}
    for tree in range(int(owners["nodes_treeids"].max(initial=-1)) + 1):
        own: dict[str, list[Any]] = {}
        for name, owner in owners.items():
            rows = np.flatnonzero(owner == tree)
            prefix = name.removesuffix("treeids")
            own |= {
                told: [values[row] for row in rows]
                for told, values in attributes.items()
                if told.startswith(prefix) and len(values) == len(owner) and told != name
            }
        yield own


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{path}.{name}" if path else str(name), inner)
    elif isinstance(value, list | tuple) and len(value) <= _LISTED:
        for place, inner in enumerate(value):
            yield from _flat(f"{path}[{place}]", inner)
    else:
        yield path, value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
