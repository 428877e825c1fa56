"""Calibration of a probability: the straight line through its logits that makes it one."""

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.newton import minimum

Floats = npt.NDArray[np.float64]

CLIP = 1e-6
_ROOM = 1e-12
_STEEP = 700.0  # exp(-z) overflows beyond


class LogisticCalibrator(msgspec.Struct, frozen=True, tag="logistic"):
    """`sigmoid(a * logit(p) + b)`. The default leaves a probability as it is, up to the clip."""

    a: float = 1.0
    b: float = 0.0

    def apply(self, p: npt.ArrayLike) -> Floats:
        """Calibrated probabilities, float64, of the shape of `p`; `p` is clipped into [1e-6, 1 - 1e-6], NaN stays NaN."""
        return sigmoid(self.a * logit(p) + self.b)


IDENTITY = LogisticCalibrator()


def logit(p: npt.ArrayLike) -> Floats:
    """`log(p / (1 - p))` in float64 of `p` clipped into [1e-6, 1 - 1e-6]."""
    inside = clipped(p)
    return np.log(inside) - np.log1p(-inside)


def clipped(p: npt.ArrayLike) -> Floats:
    """`p` as float64, clipped into [1e-6, 1 - 1e-6]."""
    return np.clip(np.asarray(p, dtype=np.float64), CLIP, 1 - CLIP)


def sigmoid(z: Floats) -> Floats:
    """`1 / (1 + exp(-z))`, without overflow."""
    return 1 / (1 + np.exp(-np.clip(z, -_STEEP, _STEEP)))


def fit_logistic(p: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> LogisticCalibrator:
    """Fit the line by Platt's method: maximum likelihood with smoothed targets, by Newton steps with backtracking.

    `p` and `y` have shape (rows,): probabilities in [0, 1] and labels 0 or 1; `weights` says how much each row counts for.
    Gives the identity where no rising line can be learnt: fewer than two distinct scores, a single class, or scores that rank the rows the wrong way round. The same
    input gives the same line. Raises `InvalidInput` for other shapes and values.

    Platt, Probabilistic outputs for support vector machines, 1999; Lin, Lin and Weng, A note on Platt's probabilistic
    outputs, Machine Learning 68, 2007.
    """
    scores, labels = checked(p, y)
    x = logit(scores)
    w = None if weights is None else np.asarray(weights, dtype=np.float64)
    targets = smoothed(labels, w)
    if targets is None or np.ptp(x) < _ROOM:
        return IDENTITY
    a, b = line_of(np.column_stack([x, np.ones_like(x)]), targets, np.array([1.0, 0.0]), w)
    return LogisticCalibrator(float(a), float(b)) if a > 0 else IDENTITY


def checked(p: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Scores and labels as float64. Raises `InvalidInput` for other shapes and values."""
    scores, labels = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise InvalidInput(
            "calibration.shapes",
            f"scores of shape {scores.shape} do not go with labels of shape {labels.shape}",
            remedy="Give two arrays of the same length.",
        )
    if not np.all((scores >= 0) & (scores <= 1)) or not np.all((labels == 0) | (labels == 1)):
        raise InvalidInput(
            "calibration.values",
            "scores must lie in [0, 1] and labels be 0 or 1, without NaN",
            remedy="Drop the rows without a score or label first.",
        )
    return scores, labels


def smoothed(labels: Floats, weights: Floats | None = None) -> Floats | None:
    """Platt's targets of 0 and 1 labels: as if one more row of each class had been seen; None for a single class."""
    positives = float(labels.sum() if weights is None else weights @ labels)
    negatives = float(len(labels) if weights is None else weights.sum()) - positives
    if positives <= 0 or negatives <= 0:
        return None
    return np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def line_of(design: Floats, targets: Floats, start: Floats, weights: Floats | None = None) -> Floats:
    """The coefficients (k,) of the logistic regression of `targets` (rows,) in [0, 1] on `design` (rows, k), weighted where
    `weights` (rows,) are given.
    """
    share = np.full(len(targets), 1 / max(len(targets), 1)) if weights is None else weights / weights.sum()

    def loss(line: Floats) -> float:
        z = design @ line
        return float(share @ (np.logaddexp(0, z) - targets * z))

    def derivatives(line: Floats) -> tuple[Floats, Floats]:
        fitted = sigmoid(design @ line)
        slopes = share * fitted * (1 - fitted)
        return design.T @ (share * (fitted - targets)), (design * slopes[:, None]).T @ design

    return minimum(start, loss, derivatives)
