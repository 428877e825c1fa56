"""Rows that came twice: equal in every column, more often than in the reference."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_JUMP = 0.02
_ERRORS = 4.0
_LEAST_ROWS = 50


@dataclass(frozen=True)
class Repeats:
    """The share of rows that had come before in the same stretch, by stretch, and the most that a stretch of the reference has.

    `repeated` (rows,) says which.
    """

    shares: Floats
    usual: float
    repeated: Mask


def repeated_rows(hashes: Hashes, bounds: Ints, reference: int) -> Repeats:
    """Count the rows of each stretch whose hash came before in it; the first `reference` stretches are the reference."""
    stretch = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    order = np.lexsort((hashes, stretch))
    same = (hashes[order][1:] == hashes[order][:-1]) & (stretch[order][1:] == stretch[order][:-1])
    repeated = np.zeros(len(hashes), dtype=np.bool_)
    repeated[order[1:][same]] = True
    rows = np.maximum(np.diff(bounds), 1)
    shares = np.bincount(stretch, weights=repeated, minlength=len(rows)) / rows
    return Repeats(shares, float(shares[:reference].max()), repeated)


def jumped(share: float, usual: float, rows: int) -> bool:
    """Whether so many repeats are no chance: two points, and four standard errors, above the most of the reference, and half as many again."""
    error = math.sqrt(max(usual * (1 - usual), 1 / max(rows, 1)) / max(rows, 1))
    return rows >= _LEAST_ROWS and share > 1.5 * usual and share - usual > max(_JUMP, _ERRORS * error)
