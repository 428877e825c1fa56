"""Student's t, for the mean of a few nearly normal figures."""

import math
from collections.abc import Sequence

import numpy as np

from loopline.errors import InvalidInput


def quantile(probability: float, freedom: float) -> float:
    """The `probability` quantile of Student's t with `freedom` degrees of freedom; infinite without any."""
    if freedom <= 0:
        return math.copysign(math.inf, probability - 0.5)
    from scipy.special import stdtrit  # noqa: PLC0415 - a quarter of a second, which most commands need not wait for

    return float(stdtrit(freedom, probability))


def upper_tail(t: float, freedom: float) -> float:
    """P(T >= t) for Student's t; 1 without any degree of freedom, where nothing is known."""
    from scipy.special import stdtr  # noqa: PLC0415 - as above

    return float(stdtr(freedom, -t)) if freedom > 0 else 1.0


def upper_bound(figures: Sequence[float], confidence: float) -> float:
    """The one-sided upper confidence bound of the mean of independent, nearly normal figures; infinite for a single one.

    Raises `InvalidInput` without figures.
    """
    if not len(figures):
        raise InvalidInput("evidence.no_figures", "there is no figure to take a mean of")
    values = np.asarray(figures, dtype=np.float64)
    if len(values) == 1:
        return math.inf
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) + quantile(confidence, len(values) - 1) * error
