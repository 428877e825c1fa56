"""Calibration of a score: the straight line through its logits that makes it a probability."""

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]

CLIP = 1e-6
_STEPS = 100
_CONVERGED = 1e-10
_ROOM = 1e-12
_STEEP = 700.0  # exp(-z) overflows beyond


class LogisticCalibrator(msgspec.Struct, frozen=True):
    """`sigmoid(a * logit(p) + b)`. The default leaves a probability as it is, up to the clip."""

    a: float = 1.0
    b: float = 0.0

    def apply(self, p: npt.ArrayLike) -> Floats:
        """Calibrated probabilities, float64, of the shape of `p`; `p` is clipped into [1e-6, 1 - 1e-6], NaN stays NaN."""
        return _sigmoid(self.a * logit(p) + self.b)


IDENTITY = LogisticCalibrator()


def logit(p: npt.ArrayLike) -> Floats:
    """`log(p / (1 - p))` in float64 of `p` clipped into [1e-6, 1 - 1e-6]."""
    inside = np.clip(np.asarray(p, dtype=np.float64), CLIP, 1 - CLIP)
    return np.log(inside) - np.log1p(-inside)


def fit_logistic(p: npt.ArrayLike, y: npt.ArrayLike) -> LogisticCalibrator:
    """Fit the line by Platt's method: maximum likelihood with smoothed targets, by Newton steps with backtracking.

    `p` and `y` have shape (rows,): probabilities in [0, 1] and labels 0 or 1. Gives the identity where no rising line can be
    learnt: fewer than two distinct scores, a single class, or scores that rank the rows the wrong way round. The same
    input gives the same line. Raises `InvalidInput` for other shapes and values.

    Platt, Probabilistic outputs for support vector machines, 1999; Lin, Lin and Weng, A note on Platt's probabilistic
    outputs, Machine Learning 68, 2007.
    """
    scores, labels = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    _check(scores, labels)
    x = logit(scores)
    positives = float(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives or np.ptp(x) < _ROOM:
        return IDENTITY
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    a, b = _newton(x, targets)
    return LogisticCalibrator(a, b) if a > 0 else IDENTITY


def _check(p: Floats, y: Floats) -> None:
    if p.ndim != 1 or p.shape != y.shape:
        raise InvalidInput(
            "calibration.shapes",
            f"scores of shape {p.shape} do not go with labels of shape {y.shape}",
            remedy="Give two arrays of the same length.",
        )
    if not np.all((p >= 0) & (p <= 1)) or not np.all((y == 0) | (y == 1)):
        raise InvalidInput(
            "calibration.values",
            "scores must lie in [0, 1] and labels be 0 or 1, without NaN",
            remedy="Drop the rows without a score or label first.",
        )


def _newton(x: Floats, targets: Floats) -> tuple[float, float]:
    design = np.column_stack([x, np.ones_like(x)])
    line, loss = np.array([1.0, 0.0]), _mean_loss(x, targets)
    for _ in range(_STEPS):
        fitted = _sigmoid(design @ line)
        gradient = design.T @ (fitted - targets) / len(x)
        if np.abs(gradient).max() < _CONVERGED:
            break
        weights = fitted * (1 - fitted)
        hessian = (design * weights[:, None]).T @ design / len(x) + _ROOM * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size, moved = 1.0, _mean_loss(design @ (line - step), targets)
        while moved > loss and size > _CONVERGED:
            size /= 2
            moved = _mean_loss(design @ (line - size * step), targets)
        line, loss = line - size * step, moved
    return float(line[0]), float(line[1])


def _mean_loss(z: Floats, targets: Floats) -> float:
    return float(np.mean(np.logaddexp(0, z) - targets * z))


def _sigmoid(z: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(z, -_STEEP, _STEEP)))
