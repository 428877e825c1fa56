"""The trees of an ensemble as arrays over all their nodes, once they are shown to be trees."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopline.models.tree_ensembles import Table

Places = npt.NDArray[np.intp]

MOST_NODES = 500_000
_DEEPEST = 512  # levels
_LARGEST = 1 << 20  # of a field's number
_LESS_OR_EQUAL, _LESS, _LEAF = b"BRANCH_LEQ", b"BRANCH_LT", b"LEAF"


@dataclass(frozen=True)
class Shape:
    """Every array has one entry a node, in the graph's order; nodes are given by their places in it.

    A float32 value goes left where `value <= threshold`, NaN where `missing_left`; these and `field` have no meaning at a leaf. `tree`
    counts from 0, `key` is that times `MOST_NODES` plus the node's number in the graph, `names` are the graph's numbers of trees; `leaves` are those under a node, `start` is the first of them, counted from the left in its tree. `roots` and
    `first_leaf`, the number of leaves before, have one entry a tree. `downwards` are all nodes, level by level, children side by
    side.
    """

    tree: Places
    key: npt.NDArray[np.int64]
    names: npt.NDArray[np.int64]
    field: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float32]
    missing_left: npt.NDArray[np.bool_]
    leaf: npt.NDArray[np.bool_]
    left: Places
    right: Places
    leaves: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    downwards: Places
    roots: Places
    first_leaf: npt.NDArray[np.int64]


class NotTaken(Exception):
    """The ensemble is left to ONNX Runtime; says why."""


def require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - a condition
    """Gives up with `NotTaken` where it does not hold."""
    if not holds:
        raise NotTaken(otherwise)


def shape_of(table: Table) -> Shape:
    """The trees of an ensemble. Gives up with `NotTaken` for other comparisons than "less" and "less or equal", and for what is no tree."""
    count = len(table["nodes_treeids"])
    require(0 < count <= MOST_NODES, "nodes")
    columns = {name: table.get(name) for name in _COLUMNS}
    require(all(values is not None and len(values) == count for values in columns.values()), "columns of nodes")
    modes = np.array(table["nodes_modes"])
    leaf = modes == _LEAF
    names = np.array(table["nodes_treeids"], dtype=np.int64)
    tree, roots = _trees(names)
    ids = np.array(table["nodes_nodeids"], dtype=np.int64)
    require(bool(np.all((ids >= 0) & (ids < MOST_NODES))), "numbers of nodes")
    key = tree * MOST_NODES + ids
    field = np.array(table["nodes_featureids"], dtype=np.int64)
    require(bool(np.all(leaf | ((field >= 0) & (field < _LARGEST)))), "fields")
    left, right = _children(table, key, leaf)
    levels = _levels(left, right, leaf, roots)
    leaves = leaf.astype(np.int64)
    for level in reversed(levels):
        inner = level[~leaf[level]]
        leaves[inner] = leaves[left[inner]] + leaves[right[inner]]
    start = np.zeros(count, dtype=np.int64)
    for level in levels:
        inner = level[~leaf[level]]
        start[left[inner]] = start[inner]
        start[right[inner]] = start[inner] + leaves[left[inner]]
    return Shape(
        tree=tree,
        key=key,
        names=names[roots],
        field=field,
        threshold=_thresholds(np.array(table["nodes_values"], dtype=np.float32), modes),
        missing_left=_missing_left(table, count),
        leaf=leaf,
        left=left,
        right=right,
        leaves=leaves,
        start=start,
        downwards=np.concatenate(levels),
        roots=roots,
        first_leaf=np.cumsum(leaves[roots]) - leaves[roots],
    )


_COLUMNS = (
    "nodes_nodeids",
    "nodes_modes",
    "nodes_featureids",
    "nodes_values",
    "nodes_truenodeids",
    "nodes_falsenodeids",
)


def _trees(ids: npt.NDArray[np.int64]) -> tuple[Places, Places]:
    """The number of each node's tree, and the roots: what comes first of each tree, whose nodes stand together."""
    begins = np.concatenate([[True], ids[1:] != ids[:-1]])
    roots = np.flatnonzero(begins)
    require(len(np.unique(ids[roots])) == len(roots), "nodes of one tree in two places")
    return np.cumsum(begins) - 1, roots


def _children(table: Table, key: npt.NDArray[np.int64], leaf: npt.NDArray[np.bool_]) -> tuple[Places, Places]:
    first = key - key % MOST_NODES  # of the tree
    found = []
    for name in ("nodes_truenodeids", "nodes_falsenodeids"):
        wanted = np.array(table[name], dtype=np.int64)
        require(bool(np.all(leaf | ((wanted >= 0) & (wanted < MOST_NODES)))), "numbers of children")
        found.append(places_of(key, np.where(leaf, key, first + wanted)))
    return found[0], found[1]


def places_of(keys: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> Places:
    """Where in `keys` the wanted ones are. Gives up with `NotTaken` where one is not, or where a key is there twice."""
    order = np.argsort(keys, kind="stable")
    inside = keys[order]
    require(bool(np.all(inside[1:] > inside[:-1])), "two of one number")
    places = np.minimum(np.searchsorted(inside, wanted), len(keys) - 1)
    require(bool(np.all(inside[places] == wanted)), "a number that is not there")
    found: Places = order[places]
    return found


def _levels(left: Places, right: Places, leaf: npt.NDArray[np.bool_], roots: Places) -> list[Places]:
    """The nodes by their distance from the root: each one once, or they are no trees."""
    levels, here, seen = [], roots, 0
    while len(here):
        levels.append(here)
        seen += len(here)
        require(seen <= len(leaf) and len(levels) <= _DEEPEST, "a tree that does not end")
        inner = here[~leaf[here]]
        here = np.stack([left[inner], right[inner]], axis=1).ravel()
    require(
        bool(np.all(np.bincount(np.concatenate(levels), minlength=len(leaf)) == 1)), "a node that is nobody's child"
    )
    return levels


def _thresholds(values: npt.NDArray[np.float32], modes: npt.NDArray[np.bytes_]) -> npt.NDArray[np.float32]:
    """The greatest value that goes left."""
    less = modes == _LESS
    require(bool(np.all(less | (modes == _LESS_OR_EQUAL) | (modes == _LEAF))), "a comparison")
    with np.errstate(all="ignore"):  # below the smallest number, and next to 0
        below = np.nextafter(values, np.float32(-np.inf))
    require(not np.any((modes != _LEAF) & np.isnan(values)) and not np.any(less & (below == values)), "a threshold")
    return np.where(less, below, values)


def _missing_left(table: Table, count: int) -> npt.NDArray[np.bool_]:
    told = table.get("nodes_missing_value_tracks_true") or [0] * count
    tracks = np.array(told, dtype=np.int64)
    require(len(tracks) == count and bool(np.all((tracks == 0) | (tracks == 1))), "ways of missing values")
    return np.asarray(tracks == 1, dtype=np.bool_)
