"""Reliability: whether of the rows scored 0.3 three in ten are positive."""

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]


class ReliabilityBin(msgspec.Struct, frozen=True):
    """Rows with scores in [low, high]: how many, their mean score and the share of positives."""

    low: float
    high: float
    rows: int
    mean_score: float
    base_rate: float


class Reliability(msgspec.Struct, frozen=True):
    """The reliability curve, and the expected calibration error: the gap of its bins, weighted by rows."""

    bins: tuple[ReliabilityBin, ...]
    expected_error: float
    largest_error: float


def reliability(p: npt.ArrayLike, y: npt.ArrayLike, bins: int = 10) -> Reliability:
    """The curve over bins of equal numbers of rows; equal scores are never parted, so there may be fewer bins.

    `p` and `y` have shape (rows,). Raises `InvalidInput` for other shapes, no rows or NaN.

    Nixon et al., Measuring calibration in deep learning, 2019, for bins of equal mass, which waste none on empty ranges.
    """
    scores, labels = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if scores.ndim != 1 or scores.shape != labels.shape or not len(scores) or np.isnan(scores + labels).any():
        raise InvalidInput(
            "evaluation.rows",
            f"no curve follows from scores of shape {scores.shape} and labels of shape {labels.shape}",
            remedy="Give at least one row, as many labels as scores, and no NaN.",
        )
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))
    member = np.searchsorted(edges, scores, side="left")
    curve = tuple(_bin(scores[member == i], labels[member == i]) for i in np.unique(member))
    gaps = np.array([abs(one.mean_score - one.base_rate) for one in curve])
    weights = np.array([one.rows for one in curve]) / len(scores)
    return Reliability(curve, float(gaps @ weights), float(gaps.max()))


def _bin(scores: Floats, labels: Floats) -> ReliabilityBin:
    return ReliabilityBin(
        float(scores.min()), float(scores.max()), len(scores), float(scores.mean()), float(labels.mean())
    )
