"""Calibration of quantiles: each is moved so that the right share of unseen rows lies below it."""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]

_MIDDLE = 0.5


class QuantileShift(msgspec.Struct, frozen=True, tag="quantile_shift"):
    """A shift for each level, in the unit of the target; quantiles that would cross are put in order."""

    shifts: tuple[float, ...]

    def apply(self, outputs: npt.ArrayLike) -> Floats:
        """Calibrated quantiles, float64 of the shape of `outputs`: (n, levels), or (n,) for one level; NaN stays NaN.

        Sorting crossing quantiles never makes them worse: Chernozhukov, Fernandez-Val and Galichon, Quantile and
        probability curves without crossing, Econometrica 78, 2010.
        """
        moved = np.asarray(outputs, dtype=np.float64) + np.array(self.shifts)
        return moved if moved.ndim == 1 else np.sort(moved, axis=1)


def fit_shift(outputs: npt.ArrayLike, y: npt.ArrayLike, levels: tuple[float, ...]) -> QuantileShift:
    """The shifts that make quantiles cover: for rows exchangeable with these, a level above a half is exceeded at most, and
    one below a half undercut at most, as often as it says.

    `outputs` has shape (rows, levels), or (rows,) for one level, `y` (rows,). A level for which the rows are too few to
    promise that stays where it is. Raises `InvalidInput` for other shapes and NaN.

    Romano, Patterson and Candes, Conformalized quantile regression, NeurIPS 2019, each side for itself.
    """
    quantiles, labels = np.asarray(outputs, dtype=np.float64), np.asarray(y, dtype=np.float64)
    quantiles = quantiles[:, None] if quantiles.ndim == 1 else quantiles
    if quantiles.shape != (len(labels), len(levels)) or np.isnan(quantiles).any() or np.isnan(labels).any():
        raise InvalidInput(
            "calibration.quantile_shapes",
            f"quantiles of shape {quantiles.shape} do not go with {len(levels)} levels and labels of shape {labels.shape}",
            remedy="Give a column for each level and a label for each row, without NaN.",
        )
    missed = np.sort(labels[:, None] - quantiles, axis=0)
    return QuantileShift(tuple(_shift(column, level) for column, level in zip(missed.T, levels, strict=True)))


def _shift(missed: Floats, level: float) -> float:
    rank = (len(missed) + 1) * level
    low, high = math.floor(rank), math.ceil(rank)
    if level != _MIDDLE:
        low = high = low if level < _MIDDLE else high
    if low < 1 or high > len(missed):
        return 0.0
    return float((missed[low - 1] + missed[high - 1]) / 2)
