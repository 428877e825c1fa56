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
_LEAST_PAIRS = 100
_COPIED = 2 / 3


@dataclass(frozen=True)
class Repeats:
    """The share of rows that had come before in the same stretch, by stretch, and the most that a stretch of the reference has.

    `earlier` (rows,) is the place of the last one before with the same features, -1 where there is none.
    """

    shares: Floats
    usual: float
    earlier: Ints

    @property
    def repeated(self) -> Mask:
        """Which rows had come before, (rows,)."""
        return self.earlier >= 0


def repeated_rows(hashes: Hashes, bounds: Ints, reference: int) -> Repeats:
    """Count the rows of each stretch whose hash came before in it; the first `reference` stretches are the reference."""
    stretch = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    order = np.lexsort((hashes, stretch))
    same = (hashes[order][1:] == hashes[order][:-1]) & (stretch[order][1:] == stretch[order][:-1])
    earlier = np.full(len(hashes), -1, dtype=np.int64)
    earlier[order[1:][same]] = order[:-1][same]
    rows = np.maximum(np.diff(bounds), 1)
    shares = np.bincount(stretch, weights=earlier >= 0, minlength=len(rows)) / rows
    return Repeats(shares, float(shares[:reference].max()), earlier)


def jumped(share: float, usual: float, rows: int) -> bool:
    """Whether so many repeats are no chance: two points, and four standard errors, above the most of the reference, and half as many again."""
    error = math.sqrt(max(usual * (1 - usual), 1 / max(rows, 1)) / max(rows, 1))
    return rows >= _LEAST_ROWS and share > 1.5 * usual and share - usual > max(_JUMP, _ERRORS * error)


def only_alike(found: Repeats, share: float, inside: Mask, label: Floats, natural: Floats) -> bool:
    """Whether rows that repeat others are of more people who are alike, and no copies: a copy has the label of its row as well.

    `inside` (rows,) are those of the stretches with a `share` of repeats whose labels are known; `natural` (rows,) is how probably two of
    the same features have the same label. Fewer than a hundred pairs say nothing.
    """
    pairs = np.flatnonzero(inside & found.repeated)
    pairs = pairs[inside[found.earlier[pairs]]]
    if len(pairs) < _LEAST_PAIRS:
        return False
    agreed = float((label[pairs] == label[found.earlier[pairs]]).mean())
    usual = float(natural[pairs].mean())
    copies = max(share - found.usual, 0.0) / max(share, 1e-9)
    return agreed < usual + _COPIED * copies * (1 - usual)


def natural_agreement(probabilities: Floats | None, label: Floats, rows: int) -> Floats:
    """How probably two rows that are alike have the same label, (rows,): from the `probabilities` of one class (rows,) or of each (rows, classes), which
    are taken to be right; without any as often as two of the known `label`s are equal.
    """
    if probabilities is None:
        _, counts = np.unique(label, return_counts=True)
        return np.full(rows, float(((counts / max(counts.sum(), 1)) ** 2).sum()))
    two = probabilities.ndim == 1
    agreement: Floats = probabilities**2 + (1 - probabilities) ** 2 if two else (probabilities**2).sum(axis=1)
    return agreement
