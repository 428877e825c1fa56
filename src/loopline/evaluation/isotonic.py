"""Isotonic calibration: any rising curve, learnt from many rows."""

from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.evaluation.calibration import checked

Floats = npt.NDArray[np.float64]

LEAST_ROWS = 1000


class IsotonicCalibrator(msgspec.Struct, frozen=True, tag="isotonic", dict=True):
    """The curve through the points (`x`, `y`), straight between them, level beyond the first and the last.

    `x` grows strictly and `y` never falls; both have the same length of one or more.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    @cached_property
    def _curve(self) -> tuple[Floats, Floats]:
        return np.array(self.x, dtype=np.float64), np.array(self.y, dtype=np.float64)

    def apply(self, p: npt.ArrayLike) -> Floats:
        """Calibrated probabilities, float64, of the shape of `p`; NaN stays NaN."""
        x, y = self._curve
        scores = np.asarray(p, dtype=np.float64)
        right = np.clip(np.searchsorted(x, scores, side="left"), 0, len(x) - 1)
        left = np.maximum(right - 1, 0)
        width = np.where(x[right] > x[left], x[right] - x[left], 1.0)
        share = np.clip((scores - x[left]) / width, 0.0, 1.0)
        return np.where(np.isnan(scores), np.nan, y[left] + share * (y[right] - y[left]))


def fit_isotonic(p: npt.ArrayLike, y: npt.ArrayLike) -> IsotonicCalibrator | None:
    """Fit by pooling adjacent violators; probabilities are kept one row's worth away from 0 and 1.

    `p` and `y` have shape (rows,): probabilities in [0, 1] and labels 0 or 1. None below 1,000 rows, where the curve would
    follow chance, and for a single class. Raises `InvalidInput` for other shapes and values.

    Zadrozny and Elkan, Transforming classifier scores into accurate multiclass probability estimates, KDD 2002; Ayer et
    al., An empirical distribution function for sampling with incomplete information, 1955.
    """
    scores, labels = checked(p, y)
    if len(labels) < LEAST_ROWS or not 0 < labels.sum() < len(labels):
        return None
    x, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    first, last, level = _pooled(np.bincount(place, weights=labels).tolist(), counts.tolist())
    edge = 1 / (len(labels) + 2)
    level = np.clip(level, edge, 1 - edge)
    points = np.column_stack([first, last]).ravel()
    ends = np.concatenate([[True], points[1:] > points[:-1]])  # a pool of one score is one point
    return IsotonicCalibrator(tuple(x[points[ends]].tolist()), tuple(np.repeat(level, 2)[ends].tolist()))


def _pooled(sums: list[float], counts: list[int]) -> tuple[list[int], list[int], Floats]:
    """First and last place of each pool, and its mean, for places in order with their sums and counts."""
    pools: list[tuple[int, int, float, int]] = []
    for place, (total, count) in enumerate(zip(sums, counts, strict=True)):
        first, last = place, place
        while pools and pools[-1][2] * count >= total * pools[-1][3]:
            first, _, before, rows = pools.pop()
            total, count = total + before, count + rows  # noqa: PLW2901 - the pool grows as it takes in its neighbours
        pools.append((first, last, total, count))
    levels = np.array([total / count for _, _, total, count in pools])
    return [pool[0] for pool in pools], [pool[1] for pool in pools], levels
