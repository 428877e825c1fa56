"""Beta calibration: bends the two ends of the scale of a probability each by its own amount."""

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.evaluation.calibration import checked, clipped, line_of, sigmoid, smoothed

Floats = npt.NDArray[np.float64]


class BetaCalibrator(msgspec.Struct, frozen=True, tag="beta"):
    """`sigmoid(a * log(p) - b * log(1 - p) + c)` with `a` and `b` at least 0, so that it never falls."""

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def apply(self, p: npt.ArrayLike) -> Floats:
        """Calibrated probabilities, float64, of the shape of `p`; `p` is clipped into [1e-6, 1 - 1e-6], NaN stays NaN."""
        inside = clipped(p)
        return sigmoid(self.a * np.log(inside) - self.b * np.log1p(-inside) + self.c)


def fit_beta(p: npt.ArrayLike, y: npt.ArrayLike) -> BetaCalibrator | None:
    """Fit by maximum likelihood with Platt's smoothed targets; a slope that would fall is left out and the rest fitted again.

    `p` and `y` have shape (rows,): probabilities in [0, 1] and labels 0 or 1. None where nothing can be learnt: a single
    class, or scores that rank the rows the wrong way round. Raises `InvalidInput` for other shapes and values.

    Kull, Silva Filho and Flach, Beta calibration, AISTATS 2017.
    """
    scores, labels = checked(p, y)
    targets = smoothed(labels)
    if targets is None:
        return None
    inside = clipped(scores)
    slopes = {"a": np.log(inside), "b": -np.log1p(-inside)}
    while slopes:
        design = np.column_stack([*slopes.values(), np.ones_like(inside)])
        *found, c = line_of(design, targets, np.array([1.0] * len(slopes) + [0.0])).tolist()
        falling = min(zip(found, slopes, strict=True))
        if falling[0] > 0:
            return BetaCalibrator(**({"a": 0.0, "b": 0.0} | dict(zip(slopes, found, strict=True))), c=c)
        del slopes[falling[1]]
    return None
