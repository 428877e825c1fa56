"""What leaves add up to, and what ONNX Runtime makes of the sums, as far as the library in C makes the same of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import NodeProto

from loopline.models.runtimes.forest.shape import MOST_NODES, Shape, places_of, require
from loopline.models.tree_ensembles import CLASSIFIER, Table, prefix_of

_MOST_LEAVES = 4 * MOST_NODES  # numbers in them
_MOST_TARGETS = 10_000
_TWO = 2

# As kernel.c has them.
_TRANSFORMS = {b"NONE": 0, b"LOGISTIC": 1, b"SOFTMAX": 2}
AS_THEY_ARE, SHARE, SIGNED = 0, 1, 2


@dataclass(frozen=True)
class Sums:
    """`leaves` are float32 (leaves of all trees, width): numbers for each target, or one for that of `target`, which has one entry a tree.

    `base` (targets,) is added to the sum, or nothing where it is empty; of an average the sum is divided first. `transform` is made of
    the outcome, and `second` says what becomes of one number for two classes.
    """

    leaves: npt.NDArray[np.float32]
    target: npt.NDArray[np.int64]
    base: npt.NDArray[np.float32]
    targets: int
    average: bool
    transform: int
    second: int

    @property
    def outputs(self) -> int:
        """How many numbers a row gets."""
        return self.targets if self.second == AS_THEY_ARE else _TWO


def sums_of(node: NodeProto, table: Table, shape: Shape) -> Sums:
    """What an ensemble adds up. Gives up with `NotTaken` for what ONNX Runtime does otherwise, or in a way that nothing says."""
    require(not any(name.endswith("_as_tensor") for name in table), "numbers of double precision")
    prefix = prefix_of(node)
    weights = np.array(table.get(f"{prefix}_weights") or [], dtype=np.float32)
    ids = np.array(table.get(f"{prefix}_ids") or [], dtype=np.int64)
    base = np.array(table.get("base_values") or [], dtype=np.float32)
    require(len(weights) == len(ids) and bool(np.all(np.isfinite(weights)) and np.all(np.isfinite(base))), "weights")
    transform = _TRANSFORMS.get(table.get("post_transform", b"NONE"))
    aggregate = table.get("aggregate_function", b"SUM")
    require(transform is not None and aggregate in {b"SUM", b"AVERAGE"}, "a transform or an aggregate")
    assert transform is not None  # noqa: S101 - for the types; held above
    second, targets = AS_THEY_ARE, int(table.get("n_targets", 1))
    if node.op_type == CLASSIFIER:
        targets = len(table.get("classlabels_strings") or table.get("classlabels_int64s") or [])
        require(targets >= _TWO and aggregate == b"SUM", "classes")
        if targets == _TWO and not ids.any():
            second, targets = SIGNED if np.any(weights < 0) else SHARE, 1
    elif targets == 1:
        transform = 0  # ONNX Runtime makes none of one number alone
    require(len(base) in {0, targets} and 0 < targets <= _MOST_TARGETS, "base values")
    leaf, owner = _leaves(table, prefix, shape)
    require(bool(np.all((ids >= 0) & (ids < targets))), "targets")
    require(
        len(ids) * targets <= _MOST_LEAVES and _each_once(leaf * targets + ids), "two weights of a leaf for one target"
    )
    if targets == _TWO and node.op_type == CLASSIFIER:
        require(not len(base) and 1 in _always(shape, owner, ids, targets), "two classes")
    elif targets > 1 and len(base) and node.op_type != CLASSIFIER:
        require(len(_always(shape, owner, ids, targets)) == targets, "a target that some rows have no weight for")
    values, target = _stacked(shape, leaf, owner, ids, weights, targets)
    return Sums(values, target, base, targets, aggregate == b"AVERAGE", transform, second)


def _leaves(table: Table, prefix: str, shape: Shape) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """Of each weight the leaf, counted over all trees, and its tree."""
    trees, nodes = (np.array(table.get(f"{prefix}_{name}") or [], dtype=np.int64) for name in ("treeids", "nodeids"))
    require(len(trees) == len(nodes) == len(table.get(f"{prefix}_ids") or []), "columns of weights")
    tree = places_of(shape.names, trees)
    require(bool(np.all((nodes >= 0) & (nodes < MOST_NODES))), "numbers of leaves")
    place = places_of(shape.key, tree * MOST_NODES + nodes)
    require(bool(np.all(shape.leaf[place])), "weights of a split")
    return shape.first_leaf[tree] + shape.start[place], tree


def _always(
    shape: Shape, owner: npt.NDArray[np.intp], ids: npt.NDArray[np.int64], targets: int
) -> npt.NDArray[np.int64]:
    """The targets that have a weight whatever the row, since all leaves of a tree have one: ONNX Runtime asks whether they had."""
    pairs, counts = np.unique(owner * targets + ids, return_counts=True)
    found: npt.NDArray[np.int64] = np.unique(pairs[counts == shape.leaves[shape.roots][pairs // targets]] % targets)
    return found


def _each_once(numbers: npt.NDArray[np.int64]) -> bool:
    return bool(np.bincount(numbers).max(initial=0) <= 1)


def _stacked(
    shape: Shape,
    leaf: npt.NDArray[np.int64],
    owner: npt.NDArray[np.intp],
    ids: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    targets: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """A weight of 0 that is not there changes no sum: none is ever -0."""
    count = int(shape.leaves[shape.roots].sum())
    alone = len(leaf) == count and _each_once(leaf)
    require(alone or targets > 1, "a leaf without a weight")
    target = np.zeros(len(shape.roots), dtype=np.int64)
    if alone:
        target[owner] = ids
        if np.array_equal(target[owner], ids):
            values = np.zeros((count, 1), dtype=np.float32)
            values[leaf, 0] = weights
            return values, target
    require(count * targets <= _MOST_LEAVES, "numbers of leaves")
    values = np.zeros((count, targets), dtype=np.float32)
    values[leaf, ids] = weights
    return values, np.zeros_like(target)
