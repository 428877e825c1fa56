"""Slices that were looked for: where two columns meet, and the loss rose more than in either alone.

Chosen on every other block and tested on the blocks between, so that having looked at thousands of them costs nothing. A cell is named only
where its rows say more than the two slices that it is cut from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int16]
Ints = npt.NDArray[np.int64]

MOST_COLUMNS = 12
_MOST_CELLS = 8
_FEWEST = 100
_SHARPER = 1.3


@dataclass(frozen=True)
class Cell:
    """Rows in slice `first` of one column and in slice `second` of another: their columns and places."""

    columns: tuple[str, str]
    places: tuple[int, int]


def promising_cells(
    slices: Mapping[str, Places], sizes: Mapping[str, int], rise: Floats, columns: Sequence[str]
) -> list[Cell]:
    """The cells with the largest rise for their size, at most eight. `rise` (rows,) is each row's unexplained loss since the onset less
    the mean of the rows outside; `columns` are at most twelve that may be cut.
    """
    found: list[tuple[float, Cell]] = []
    for first, second in combinations(columns[:MOST_COLUMNS], 2):
        wide, high = sizes[first], sizes[second]
        both = (slices[first] >= 0) & (slices[second] >= 0)
        code = slices[first][both].astype(np.int64) * high + slices[second][both]
        rows = np.bincount(code, minlength=wide * high).reshape(wide, high)
        lost = np.bincount(code, weights=rise[both], minlength=wide * high).astype(np.float64).reshape(wide, high)
        found += _sharper((first, second), rows.astype(np.float64), lost)
    found.sort(key=lambda one: -one[0])
    return [cell for _, cell in found[:_MOST_CELLS]]


def _sharper(columns: tuple[str, str], rows: Floats, lost: Floats) -> list[tuple[float, Cell]]:
    mean = np.divide(lost, rows, out=np.zeros_like(lost), where=rows > 0)
    across = lost.sum(axis=1) / np.maximum(rows.sum(axis=1), 1)
    down = lost.sum(axis=0) / np.maximum(rows.sum(axis=0), 1)
    better = np.maximum(across[:, None], down[None, :])
    some = (rows >= _FEWEST) & (mean > 0) & (mean > _SHARPER * np.maximum(better, 0.0))
    weight = (mean - np.maximum(better, 0.0)) * np.sqrt(rows)
    return [(float(weight[a, b]), Cell(columns, (int(a), int(b)))) for a, b in zip(*np.nonzero(some), strict=True)]
