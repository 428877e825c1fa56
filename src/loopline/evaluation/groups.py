"""Groups in data: how many rows each has, how often its label is known, and what it is, with intervals."""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation import proportions
from loopline.evaluation.intervals import holm
from loopline.evidence.student import quantile

Floats = npt.NDArray[np.float64]


class Group(msgspec.Struct, frozen=True):
    """One group. `mean` of its known labels (a rate where the label is 0 or 1) with the bounds of its interval; `gap` is it minus that of
    all other rows, with bounds; `p_adjusted` the two-sided p-value of the gap after Holm's correction over the groups.
    """

    name: str
    rows: int
    share: float
    labelled: int
    mean: float | None
    lower: float | None
    upper: float | None
    gap: float | None = None
    gap_lower: float | None = None
    gap_upper: float | None = None
    p_adjusted: float | None = None


def label_by_group(
    groups: npt.ArrayLike, label: npt.ArrayLike, *, binary: bool, confidence: float = 0.95
) -> list[Group]:
    """The label in each group, the largest first. `groups` are texts and `label` numbers (0 and 1 if `binary`), of shape (rows,);
    NaN is an unknown label.

    Rates have Wilson's interval (1927) and differences of rates Newcombe's (1998, method 10); means and their differences
    Student's and Welch's. Rows are taken as independent. Raises `InvalidInput` for other shapes.
    """
    names, y = np.asarray(groups, dtype=object), np.asarray(label, dtype=np.float64)
    if names.shape != y.shape or names.ndim != 1:
        raise InvalidInput(
            "groups.shapes", f"{names.shape} groups and {y.shape} labels", remedy="Give one of each for a row."
        )
    found = sorted(set(names.tolist()))
    sides = [(y[(names == name) & ~np.isnan(y)], y[(names != name) & ~np.isnan(y)]) for name in found]
    p = holm([_p(mine, others, binary=binary) for mine, others in sides])
    made = [
        _group(
            str(name), int((names == name).sum()), len(y), mine, others, adjusted, binary=binary, confidence=confidence
        )
        for name, (mine, others), adjusted in zip(found, sides, p, strict=True)
    ]
    return sorted(made, key=lambda group: (-group.rows, group.name))


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a rate (Wilson 1927); [0, 1] without trials."""
    share = proportions.wilson(successes, trials, confidence)
    return share.lower, share.upper


def _group(
    name: str, rows: int, total: int, mine: Floats, others: Floats, p: float, *, binary: bool, confidence: float
) -> Group:
    share = rows / total
    if not len(mine):
        return Group(name, rows, share, 0, None, None, None)
    lower, upper = _bounds(mine, binary=binary, confidence=confidence)
    mean = float(mine.mean())
    if not len(others):
        return Group(name, rows, share, len(mine), mean, lower, upper)
    gap = mean - float(others.mean())
    gap_lower, gap_upper = _gap(mine, others, gap, binary=binary, confidence=confidence)
    return Group(name, rows, share, len(mine), mean, lower, upper, gap, gap_lower, gap_upper, p)


def _bounds(y: Floats, *, binary: bool, confidence: float) -> tuple[float | None, float | None]:
    if binary:
        return wilson(int(y.sum()), len(y), confidence)
    if len(y) < 2:  # noqa: PLR2004 - one value has no spread
        return None, None
    half = quantile(0.5 + confidence / 2, len(y) - 1) * float(y.std(ddof=1)) / math.sqrt(len(y))
    return float(y.mean()) - half, float(y.mean()) + half


def _gap(
    mine: Floats, others: Floats, gap: float, *, binary: bool, confidence: float
) -> tuple[float | None, float | None]:
    if binary:
        low, high = wilson(int(mine.sum()), len(mine), confidence)
        other_low, other_high = wilson(int(others.sum()), len(others), confidence)
        a, b = float(mine.mean()), float(others.mean())
        return gap - math.hypot(a - low, other_high - b), gap + math.hypot(high - a, b - other_low)
    error, freedom = _welch(mine, others)
    if error is None:
        return None, None
    half = quantile(0.5 + confidence / 2, max(int(freedom), 1)) * error
    return gap - half, gap + half


def _welch(mine: Floats, others: Floats) -> tuple[float | None, float]:
    if min(len(mine), len(others)) < 2:  # noqa: PLR2004 - one value has no spread
        return None, 0.0
    a, b = float(mine.var(ddof=1)) / len(mine), float(others.var(ddof=1)) / len(others)
    if a + b == 0:
        return 0.0, 1.0
    return math.sqrt(a + b), (a + b) ** 2 / (a * a / (len(mine) - 1) + b * b / (len(others) - 1))


def _p(mine: Floats, others: Floats, *, binary: bool) -> float:
    """Two-sided: the pooled test of two rates, or the normal one of two means."""
    if not len(mine) or not len(others):
        return 1.0
    gap = float(mine.mean() - others.mean())
    if binary:
        pooled = float(np.concatenate([mine, others]).mean())
        error: float | None = math.sqrt(pooled * (1 - pooled) * (1 / len(mine) + 1 / len(others)))
    else:
        error, _ = _welch(mine, others)
    if not error:
        return 1.0 if gap == 0 or error is None else 0.0
    return math.erfc(abs(gap) / error / math.sqrt(2))
