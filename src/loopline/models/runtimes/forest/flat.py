"""Trees laid out as the library in C reads them; every index in them is checked here, since nobody checks it later."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.models.runtimes.forest.shape import Shape

Places = npt.NDArray[np.intp]

TREE = np.dtype([(name, "u4") for name in ("root", "words", "first", "end", "leaf", "target")])
SPLIT = np.dtype([("threshold", "f4"), ("column", "u4"), ("missing_left", "u4"), ("keep", "u4", 2)])
NODE = np.dtype([("threshold", "f4"), ("column", "u4"), ("child", "u4"), ("leaf", "u4")])

_WORD = 32  # leaves that one word tells apart
_WORDS = 2


@dataclass(frozen=True)
class Flat:
    """`trees`, `splits` and `nodes` as kernel.c has them; `columns` are the fields that are asked for."""

    trees: npt.NDArray[np.void]
    splits: npt.NDArray[np.void]
    nodes: npt.NDArray[np.void]
    columns: npt.NDArray[np.uint32]


def flatten(shape: Shape, target: npt.NDArray[np.integer[Any]]) -> Flat:
    """All trees as nodes to walk, those of few leaves also as splits that strike out leaves; `target` is what each tree adds to."""
    inner = ~shape.leaf
    columns = np.flatnonzero(np.bincount(shape.field[inner]))
    column = np.where(shape.leaf, 0, np.searchsorted(columns, shape.field)).astype(np.uint32)
    words = -(-shape.leaves[shape.roots] // _WORD)
    words[words > _WORDS] = 0
    trees = np.zeros(len(shape.roots), dtype=TREE)
    trees["words"], trees["target"], trees["leaf"] = words, target, shape.first_leaf
    nodes = shape.downwards[np.argsort(shape.tree[shape.downwards], kind="stable")]
    trees["root"] = np.searchsorted(shape.tree[nodes], np.arange(len(trees)))
    splits = nodes[inner[nodes] & (words[shape.tree[nodes]] > 0)]
    trees["first"] = np.searchsorted(shape.tree[splits], np.arange(len(trees)), side="left")
    trees["end"] = np.searchsorted(shape.tree[splits], np.arange(len(trees)), side="right")
    return Flat(trees, _splits(shape, splits, column), _nodes(shape, nodes, column), columns.astype(np.uint32))


def _splits(shape: Shape, places: Places, column: npt.NDArray[np.uint32]) -> npt.NDArray[np.void]:
    """A row that goes right cannot end in the leaves from the split's first one up to its right child's first one."""
    made = np.zeros(len(places), dtype=SPLIT)
    made["threshold"], made["column"] = shape.threshold[places], column[places]
    made["missing_left"] = shape.missing_left[places]
    start = shape.start[places].astype(np.uint64)
    count = shape.leaves[shape.left[places]].astype(np.uint64)  # fewer than all of at most 64, so below 64
    keep = ~(((np.uint64(1) << count) - np.uint64(1)) << start)
    made["keep"][:, 0], made["keep"][:, 1] = keep & np.uint64(0xFFFFFFFF), keep >> np.uint64(_WORD)
    return made


def _nodes(shape: Shape, places: Places, column: npt.NDArray[np.uint32]) -> npt.NDArray[np.void]:
    """From the roots down, so that the right child follows the left one. A leaf is its own left child, where all values go."""
    made = np.zeros(len(places), dtype=NODE)
    new = np.zeros(len(shape.leaf), dtype=np.uint32)
    new[places] = np.arange(len(places), dtype=np.uint32)
    leaf = shape.leaf[places]
    child = np.where(leaf, new[places], new[shape.left[places]])
    made["threshold"] = np.where(leaf, np.float32(np.inf), shape.threshold[places])
    made["column"] = column[places]
    made["child"] = 2 * child + (~leaf & ~shape.missing_left[places])
    made["leaf"] = np.where(leaf, shape.start[places], 0)
    return made
