"""Intervals of shares and of their differences, where rows are too few for the spread of blocks to be known."""

import math
from statistics import NormalDist

import msgspec


class Share(msgspec.Struct, frozen=True):
    """A share with its bounds."""

    value: float
    lower: float
    upper: float


def wilson(successes: float, rows: int, confidence: float) -> Share:
    """Wilson's score interval of a share, two-sided; [0, 1] without rows.

    Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if not rows:
        return Share(math.nan, 0.0, 1.0)
    z, p = NormalDist().inv_cdf(0.5 + confidence / 2), successes / rows
    centre = (p + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(p * (1 - p) / rows + z * z / (4 * rows * rows))
    return Share(p, min(max(0.0, centre - half), p), max(min(1.0, centre + half), p))


def newcombe(first: Share, second: Share) -> Share:
    """The interval of `first` minus `second` from the intervals of both, which are of different rows.

    Newcombe, Interval estimation for the difference between independent proportions, 1998, method 10.
    """
    gap = first.value - second.value
    below = math.hypot(first.value - first.lower, second.upper - second.value)
    above = math.hypot(first.upper - first.value, second.value - second.lower)
    return Share(gap, gap - below, gap + above)
