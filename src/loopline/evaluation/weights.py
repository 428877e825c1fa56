"""Means of weighted rows: weights undo that some rows were likelier to be seen than others."""

import math

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.intervals import Interval, mean_by_block

Floats = npt.NDArray[np.float64]


def effective_rows(weights: npt.ArrayLike) -> float:
    """How many rows of equal weight say as much about a mean: `(sum w)^2 / sum w^2`, 0.0 where all weigh nothing.

    Kish, Survey sampling, 1965.
    """
    w = np.asarray(weights, dtype=np.float64)
    squares = float((w**2).sum())
    return float(w.sum()) ** 2 / squares if squares else 0.0


def weighted_mean_by_block(
    values: npt.ArrayLike, weights: npt.ArrayLike, blocks: npt.ArrayLike, confidence: float = 0.95
) -> Interval:
    """The interval of `sum(w x) / sum(w)` with blocks as clusters; equal weights give `mean_by_block`.

    All of shape (rows,). A value may be NaN where its weight is 0. The error is that of the ratio linearised at the mean
    (Särndal, Swensson and Wretman, Model assisted survey sampling, 1992, chapter 5). `rows` counts those that weigh.
    Raises `InvalidInput` for a weight that is negative or not finite, or where nothing weighs.
    """
    w = np.asarray(weights, dtype=np.float64)
    if not np.all(np.isfinite(w) & (w >= 0)) or not w.sum():
        raise InvalidInput(
            "evaluation.weights",
            "weights must be finite and not negative, and some row must weigh",
            remedy="Drop rows that were not seen, or look at a longer stretch.",
        )
    x = np.where(w > 0, np.asarray(values, dtype=np.float64), 0.0)
    mean = float((w * x).sum() / w.sum())
    spread = mean_by_block(w * (x - mean) / w.mean(), blocks, confidence)
    half = spread.upper - spread.mean if math.isfinite(spread.upper) else math.inf
    return Interval(mean, mean - half, mean + half, spread.error, spread.blocks, int((w > 0).sum()))
