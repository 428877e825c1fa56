"""How likely a count this high, or a rise this clear, would be by chance alone. Exact where that is cheap."""

import math
from collections.abc import Sequence


def at_least(count: int, of: int, share: float) -> float:
    """The chance of `count` or more out of `of`, where each falls in with probability `share` (binomial, exact)."""
    if count <= 0 or share >= 1:
        return 1.0
    if share <= 0:
        return 0.0
    logs = (
        math.lgamma(of + 1) - math.lgamma(one + 1) - math.lgamma(of - one + 1)
        + one * math.log(share) + (of - one) * math.log1p(-share)
        for one in range(count, of + 1)
    )  # fmt: skip
    return min(1.0, sum(math.exp(one) for one in logs))


def rises(earlier: Sequence[float], later: Sequence[float]) -> float:
    """The chance that `later` ranks as high above `earlier` as it does, if both were alike (Mann-Whitney, one-sided, by the
    normal approximation with ties and continuity corrected; source: Hollander, Wolfe, Nonparametric Statistical Methods, 4.1).
    """
    first, second = len(earlier), len(later)
    both = sorted([*earlier, *later])
    total = first + second
    if not first or not second or both[0] == both[-1]:
        return 1.0
    above = sum((one > other) + (one == other) / 2 for one in later for other in earlier)
    ties = sum(count**3 - count for count in (both.count(value) for value in set(both)))
    variance = first * second / 12 * (total + 1 - ties / (total * (total - 1)))
    score = (above - first * second / 2 - 0.5) / math.sqrt(variance)
    return 0.5 * math.erfc(score / math.sqrt(2))
