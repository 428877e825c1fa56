"""How sure a mean difference is, when rows of one block (a day, a customer) are not independent."""

import math
from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evidence.student import quantile, upper_tail

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Interval(msgspec.Struct, frozen=True):
    """A mean over rows with its confidence bounds and standard error; infinite bounds where one block says nothing of spread."""

    mean: float
    lower: float
    upper: float
    error: float
    blocks: int
    rows: int

    def p_above(self, margin: float = 0.0) -> float:
        """One-sided p-value against the true mean being at most `margin`: small where it is surely above."""
        if self.error == 0:
            return 0.0 if self.mean > margin else 1.0
        return upper_tail((self.mean - margin) / self.error, self.blocks - 1)


class SliceInterval(msgspec.Struct, frozen=True):
    """The interval of one slice. `p` is its `p_above`, `p_adjusted` the same after Holm's correction over all slices."""

    name: str
    interval: Interval
    p: float
    p_adjusted: float


def paired_by_block(a: npt.ArrayLike, b: npt.ArrayLike, blocks: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """The interval of the mean of `a - b` over rows, two-sided, with blocks as clusters.

    All of shape (rows,): figures of the same rows under two models, such as their losses, and what block each row is of. Every row
    weighs the same; the variance sums the residuals within each block before squaring, so rows of a block may depend on
    each other in any way. Student's t with blocks - 1 degrees of freedom. Raises `InvalidInput` for other shapes, no rows
    or NaN.

    Liang and Zeger, Longitudinal data analysis using generalized linear models, 1986; Cameron and Miller, A practitioner's
    guide to cluster-robust inference, 2015, for the correction G / (G - 1) and the t.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return mean_by_block(difference, blocks, confidence)


def mean_by_block(values: npt.ArrayLike, blocks: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """As `paired_by_block`, for the mean of `values` themselves."""
    x, groups = np.asarray(values, dtype=np.float64), np.asarray(blocks)
    _check(x, groups)
    _, member = np.unique(groups, return_inverse=True)
    mean = float(x.mean())
    return _interval(mean, np.bincount(member, weights=x - mean).astype(np.float64), len(x), confidence)


def interval_of_sums(sums: npt.ArrayLike, rows: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """As `mean_by_block`, from the sum of the values and the number of rows of each block, both of shape (blocks,).

    Blocks without rows do not count. Raises `InvalidInput` without rows.
    """
    total, count = np.asarray(sums, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    filled = count > 0
    _check(total[filled], count[filled])
    mean = float(total[filled].sum() / count[filled].sum())
    return _interval(mean, total[filled] - mean * count[filled], int(count.sum()), confidence)


def _interval(mean: float, residuals: Floats, rows: int, confidence: float) -> Interval:
    """From the sum of residuals in each block."""
    count = len(residuals)
    if count == 1:
        return Interval(mean, -math.inf, math.inf, math.inf, 1, rows)
    error = math.sqrt(count / (count - 1) * float((residuals**2).sum())) / rows
    half = quantile(0.5 + confidence / 2, count - 1) * error
    return Interval(mean, mean - half, mean + half, error, count, rows)


def of_block_sums(sums: npt.ArrayLike, counts: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """As `mean_by_block`, from each block's sum of values and number of rows. Raises `InvalidInput` where there are no rows."""
    total, rows = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    _check(total, rows)
    if rows.sum() <= 0:
        raise InvalidInput("evaluation.rows", "no interval follows from blocks without rows", remedy="Wait for labels.")
    mean, blocks = float(total.sum() / rows.sum()), int((rows > 0).sum())
    if blocks == 1:
        return Interval(mean, -math.inf, math.inf, math.inf, 1, int(rows.sum()))
    error = math.sqrt(blocks / (blocks - 1) * float(((total - mean * rows) ** 2).sum())) / float(rows.sum())
    half = quantile(0.5 + confidence / 2, blocks - 1) * error
    return Interval(mean, mean - half, mean + half, error, blocks, int(rows.sum()))


def by_slice(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    blocks: npt.ArrayLike,
    slices: Mapping[str, Mask],
    *,
    margin: float = 0.0,
    confidence: float = 0.95,
) -> list[SliceInterval]:
    """The interval of `a - b` in each slice, and in which it surely exceeds `margin`, corrected for looking at many.

    `slices` names masks of shape (rows,), which may overlap; an empty one is left out. The intervals are each for
    themselves; `p_adjusted` holds over all of them (Holm, A simple sequentially rejective multiple test procedure, 1979),
    however they depend on each other. In the order of `slices`.
    """
    first, second, groups = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64), np.asarray(blocks)
    found = {
        name: paired_by_block(first[mask], second[mask], groups[mask], confidence)
        for name, mask in slices.items()
        if mask.any()
    }
    p = [interval.p_above(margin) for interval in found.values()]
    return [
        SliceInterval(name, interval, raw, adjusted)
        for (name, interval), raw, adjusted in zip(found.items(), p, holm(p), strict=True)
    ]


def holm(p: list[float]) -> list[float]:
    """Adjusted p-values in the order given: those at most alpha hold with a familywise error of alpha."""
    adjusted, worst = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        worst = max(worst, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = worst
    return adjusted


def _check(x: Floats, groups: npt.NDArray[np.generic]) -> None:
    if x.ndim != 1 or x.shape != groups.shape or not len(x) or np.isnan(x).any():
        raise InvalidInput(
            "evaluation.rows",
            f"no interval follows from figures of shape {x.shape} in blocks of shape {groups.shape}",
            remedy="Give at least one row, as many blocks as rows, and no NaN.",
        )
