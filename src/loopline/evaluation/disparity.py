"""How far the figures of groups lie apart, and how sure that is."""

import math
from collections.abc import Mapping
from itertools import combinations

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.evaluation.proportions import Share, newcombe, wilson
from loopline.evidence.student import quantile

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Blocks = npt.NDArray[np.generic]
Bounds = tuple[float | None, float | None]

FEW_BLOCKS, FEW_EVENTS = 10, 10


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of a measure over the `rows` of a group that count for it, with its bounds.

    `method` is `"blocks"` (rows of a block may depend on each other) or `"wilson"` (a share of too few blocks or events for
    that). A bound is None where nothing is known of it. `judged` says whether the rows were enough to be compared.
    """

    rows: int
    value: float
    lower: float | None
    upper: float | None
    method: str
    judged: bool


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """The figure of `larger` minus that of `smaller`, with its bounds; None where nothing is known of one."""

    larger: str
    smaller: str
    difference: float
    lower: float | None
    upper: float | None
    method: str


def figure(values: Floats, blocks: Blocks, *, confidence: float, min_rows: int) -> Figure:
    """The figure of a group: `values` and `blocks` are those of its rows, NaN for a row that does not count.

    Over blocks: the mean's residuals are summed within each block before they are squared (see
    `intervals.paired_by_block`).
    """
    known = ~np.isnan(values)
    x, of = values[known], blocks[known]
    judged = len(x) >= min_rows
    if not len(x):
        return Figure(rows=0, value=math.nan, lower=None, upper=None, method="blocks", judged=False)
    if _is_share(x) and _few(x, of):
        share = wilson(float(x.sum()), len(x), confidence)
        return Figure(
            rows=len(x), value=share.value, lower=share.lower, upper=share.upper, method="wilson", judged=judged
        )
    mean = float(x.mean())
    low, high = _bounds(mean, (x - mean) / len(x), of, confidence)
    if _is_share(x) and low is not None and high is not None:
        low, high = max(0.0, low), min(1.0, high)
    return Figure(rows=len(x), value=mean, lower=low, upper=high, method="blocks", judged=judged)


def gaps(
    values: Floats,
    groups: Mapping[str, Mask],
    blocks: Blocks,
    *,
    confidence: float,
    min_rows: int,
    adjusted: bool = True,
) -> list[Gap]:
    """The gap of every two groups with at least `min_rows` rows that count, the widest first.

    `confidence` is two-sided. `adjusted` holds it over all pairs together (Bonferroni), so that looking at many groups finds no
    more by chance.
    """
    counted = {name: mask & ~np.isnan(values) for name, mask in groups.items()}
    judged = {name: mask for name, mask in counted.items() if mask.sum() >= max(min_rows, 1)}
    pairs = list(combinations(judged, 2))
    level = 1 - (1 - confidence) / max(len(pairs), 1) if adjusted else confidence
    found = [_gap(values, (one, judged[one]), (other, judged[other]), blocks, level) for one, other in pairs]
    return sorted(found, key=lambda gap: (-gap.difference, gap.larger, gap.smaller))


def _gap(values: Floats, one: tuple[str, Mask], other: tuple[str, Mask], blocks: Blocks, confidence: float) -> Gap:
    if values[one[1]].mean() < values[other[1]].mean():
        one, other = other, one
    first, second = values[one[1]], values[other[1]]
    few = _few(first, blocks[one[1]]) or _few(second, blocks[other[1]])
    if few and _is_share(first) and _is_share(second):
        share = newcombe(_wilson(first, confidence), _wilson(second, confidence))
        bounds: Bounds = (share.lower, share.upper)
    else:
        pull = np.concatenate([(first - first.mean()) / len(first), (second.mean() - second) / len(second)])
        of = np.concatenate([blocks[one[1]], blocks[other[1]]])
        few, bounds = False, _bounds(float(first.mean() - second.mean()), pull, of, confidence)
    return Gap(
        larger=one[0],
        smaller=other[0],
        difference=float(first.mean() - second.mean()),
        lower=bounds[0],
        upper=bounds[1],
        method="wilson" if few else "blocks",
    )


def _bounds(centre: float, pull: Floats, blocks: Blocks, confidence: float) -> Bounds:
    """The bounds of a figure from what each row pulls it, summed by block; Student's t with blocks - 1 degrees of freedom."""
    _, member = np.unique(blocks, return_inverse=True)
    count = int(member.max()) + 1
    if count == 1:
        return None, None
    error = math.sqrt(count / (count - 1) * float((np.bincount(member, weights=pull) ** 2).sum()))
    half = quantile(0.5 + confidence / 2, count - 1) * error
    return centre - half, centre + half


def _wilson(x: Floats, confidence: float) -> Share:
    return wilson(float(x.sum()), len(x), confidence)


def _is_share(x: Floats) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def _few(x: Floats, blocks: Blocks) -> bool:
    events = float(x.sum())
    return min(events, len(x) - events) < FEW_EVENTS or len(np.unique(blocks)) < FEW_BLOCKS
