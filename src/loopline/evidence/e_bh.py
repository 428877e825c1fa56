"""Which of many hypotheses to reject, from an e-value of each: e-BH."""

import math
from collections.abc import Sequence

from loopline.evidence.confidence import check_alpha


def rejected(log_e: Sequence[float], alpha: float) -> list[int]:
    """The places of those that are rejected, rising: the r largest for the largest r with `e >= n / (alpha r)`.

    `log_e` are logarithms of e-values, or of e-processes at one stopping time. Of those that are rejected at most a share of `alpha` is
    so wrongly in the mean, however they depend on each other. Raises `InvalidInput` for an alpha out of (0, 1).

    Wang and Ramdas, False discovery rate control with e-values, JRSS B 84, 2022.
    """
    check_alpha(alpha)
    count = len(log_e)
    order = sorted(range(count), key=lambda place: -log_e[place])
    enough = 0
    for rank, place in enumerate(order, start=1):
        if log_e[place] >= math.log(count / (alpha * rank)):
            enough = rank
    return sorted(order[:enough])
