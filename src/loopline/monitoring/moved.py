"""That a series of numbers has moved for good: since when, by how much, which way."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.evidence.student import quantile
from loopline.monitoring.usual import Sums

Floats = npt.NDArray[np.float64]

_LEVEL = {"higher", "lower"}
_LIKELY = 6.0
"""Twice the drop of the log-likelihood that a likely beginning may have: about 95 % for a clear change."""

_STICKIEST = 0.95
_SURE = 0.975
_UNKNOWN = 1e9


class Value(msgspec.Struct, frozen=True, array_like=True):
    """A value of the series, at a time or a place in it, and its normal score among those before it; None for one that was only learnt from."""

    at: int
    value: float
    score: float | None = None


Way = Literal["higher", "lower", "wider", "narrower"]


class Size(msgspec.Struct, frozen=True):
    """How much, with an interval of 95 % as if the onset were known and values were normal."""

    value: float = 0.0
    lower: float = 0.0
    upper: float = 0.0

    def clear_of(self, nothing: float) -> bool:
        """Whether no change at all lies outside of the interval."""
        return not self.lower <= nothing <= self.upper


class Moved(msgspec.Struct, frozen=True):
    """A move, told at the value `seen`. Times are what the values were given with: microseconds since 1970 (UTC), or places.

    It began likely at `onset`, no earlier than `earliest`, no later than `latest`. `before` and `after` are the level, the mean of so many values since what was
    usual began to be learnt and since the onset; of a series that walks (`of` is "steps", as `carry` is 1) the mean of its steps. The
    spreads are standard deviations of the same. `level` is by how much the level differs, `spread` how many times as wide it is; `way` is
    what of both is clear, or likelier.
    """

    way: Way
    of: Literal["level", "steps"]
    seen: int
    onset: int
    earliest: int
    latest: int
    carry: float
    log_evidence: float
    log_threshold: float
    before: float = 0.0
    after: float = 0.0
    spread_before: float = 0.0
    spread_after: float = 0.0
    values_before: int = 0
    values_after: int = 0
    level: Size = Size()
    spread: Size = Size()


class Beginning(msgspec.Struct, frozen=True):
    """Which way a series moved, and the places among the recent values where that likely began, at the earliest and at the latest."""

    way: Way
    likely: int
    earliest: int
    latest: int


def beginning_of(recent: Sequence[Value]) -> Beginning:
    """The likeliest move among `recent`, some of which have a score.

    By maximum likelihood: the scores are standard normal before it, and of another mean or another spread from it on.
    """
    first = next(place for place, one in enumerate(recent) if one.score is not None)
    scores = np.array([one.score for one in recent[first:]], dtype=np.float64)
    counts = np.arange(len(scores), 0, -1)
    sums, squares = np.cumsum(scores[::-1])[::-1], np.cumsum(scores[::-1] ** 2)[::-1] / counts
    spread = counts * (squares - 1 - np.log(np.maximum(squares, 1e-12)))
    may: dict[Way, Floats] = {
        "higher": np.maximum(sums, 0.0) ** 2 / counts,
        "lower": np.minimum(sums, 0.0) ** 2 / counts,
        "wider": np.where(squares > 1, spread, 0.0),
        "narrower": np.where(squares < 1, spread, 0.0),
    }
    way = max(may, key=lambda one: float(may[one].max()))
    likely = may[way]
    best = int(np.argmax(likely))
    near = np.flatnonzero(likely >= likely[best] - _LIKELY)
    return Beginning(way, first + best, first + int(near[0]), first + int(near[-1]))


def measured(
    recent: Sequence[Value], settled: Sums, carry: float, log_evidence: float, log_threshold: float
) -> tuple[Moved, Sums]:
    """The move, and the moments of the values before it; `settled` are those of the values before `recent`."""
    begun = beginning_of(recent)
    before = settled.plus_all([one.value for one in recent[: begun.likely]])
    found = Moved(
        way=begun.way,
        of="steps" if carry >= 1 else "level",
        seen=recent[-1].at,
        onset=recent[begun.likely].at,
        earliest=recent[begun.earliest].at,
        latest=recent[begun.latest].at,
        carry=carry,
        log_evidence=log_evidence,
        log_threshold=log_threshold,
    )
    return sized(found, before, [one.value for one in recent[begun.likely :]]), before


def sized(moved: Moved, before: Sums, values: Sequence[float]) -> Moved:
    """The move with its sizes, from the moments of the values before it and the `values` since."""
    steps = moved.of == "steps"
    start = Sums().plus(before.last) if steps and before.count else Sums()
    after = start.plus_all(values)
    (mean, variance), (mean_after, variance_after) = (
        (one.step, one.step_variance) if steps else (one.mean, one.variance) for one in (before, after)
    )
    counts = [max(one.count - steps, 1) for one in (before, after)]
    spread = _ratio((variance, variance_after), counts)
    level = _difference(
        mean_after - mean,
        (variance, variance_after),
        counts,
        0.0 if steps else moved.carry,
        alike=not spread.clear_of(1.0),
    )
    return msgspec.structs.replace(
        moved,
        way=_clearest(moved.way, level, spread),
        before=mean,
        after=mean_after,
        spread_before=math.sqrt(variance),
        spread_after=math.sqrt(variance_after),
        values_before=before.count,
        values_after=len(values),
        level=level,
        spread=spread,
    )


def _clearest(likelier: Way, level: Size, spread: Size) -> Way:
    of_level: Way = "higher" if level.value > 0 else "lower"
    of_spread: Way = "wider" if spread.value > 1 else "narrower"
    clear = (level.clear_of(0.0), spread.clear_of(1.0))
    if clear == (True, False) or (likelier in _LEVEL and clear != (False, True)):
        return of_level
    return of_spread


def _difference(
    difference: float, variances: tuple[float, float], counts: Sequence[int], carry: float, *, alike: bool
) -> Size:
    """By Student's t, with one variance for both stretches where they may be alike; wider where values carry over (Bayley and Hammersley, 1946)."""
    freedom = max(sum(counts) - 2, 1)
    pooled = sum(variance * (count - 1) for variance, count in zip(variances, counts, strict=True)) / freedom
    own = (pooled, pooled) if alike else variances
    inflated = (1 + min(carry, _STICKIEST)) / (1 - min(carry, _STICKIEST))
    error = math.sqrt(inflated * sum(variance / count for variance, count in zip(own, counts, strict=True)))
    room = quantile(_SURE, freedom if alike else max(min(counts) - 1, 1)) * error
    return Size(difference, difference - room, difference + room)


def _ratio(variances: tuple[float, float], counts: Sequence[int]) -> Size:
    """Of the standard deviations, by F; nothing is clear where one stretch has no spread or a single value."""
    from scipy.special import fdtri  # noqa: PLC0415 - a quarter of a second, which most commands need not wait for

    if not all(variances):
        return Size(1.0, 0.0, _UNKNOWN)
    ratio = math.sqrt(variances[1] / variances[0])
    free = [max(count - 1, 1) for count in counts]
    low, high = (math.sqrt(float(fdtri(free[1], free[0], share))) for share in (_SURE, 1 - _SURE))
    return Size(ratio, ratio / low, ratio / high)


def told(moved: Moved, name: str, when: Callable[[int], str], until: int | None = None) -> str:
    """The move in words; `when` tells a time or a place, `until` is where the next one began."""
    earliest, onset, latest = when(moved.earliest), when(moved.onset), when(moved.latest)
    likely = f" (between {earliest} and {latest})" if earliest != latest else ""
    lies = (
        f"Since about {onset}{likely}, until about {when(until)}, {name}"
        if until is not None
        else f"Since about {onset}{likely} {name}"
    )
    over = f"over {moved.values_after:,} value{'s' if moved.values_after > 1 else ''}"
    told = {True: _level(moved), False: _spread(moved)}
    leads = moved.way in _LEVEL
    also = moved.spread.clear_of(1.0) if leads else moved.level.clear_of(0.0)
    both = f"{told[leads]}, and {told[not leads]}" if also else told[leads]
    return f"{lies} {both}, {over}."


def _level(moved: Moved) -> str:
    verb = "steps by" if moved.of == "steps" else "lies at"
    sizes = sorted(abs(end) for end in (moved.level.lower, moved.level.upper))
    span = f"{_figure(sizes[0])} to {_figure(sizes[1])}" if moved.level.clear_of(0.0) else "not yet clear by how much"
    way = "higher" if moved.level.value > 0 else "lower"
    return f"{verb} {_figure(moved.after)}, where {_figure(moved.before)} was usual: {_figure(abs(moved.level.value))} {way} ({span})"


def _spread(moved: Moved) -> str:
    times = f"{_figure(moved.spread.value)} times as much"
    span = (
        f"{_figure(moved.spread.lower)} to {_figure(moved.spread.upper)}"
        if moved.spread.clear_of(1.0)
        else "not yet clear by how much"
    )
    steps = " from step to step" if moved.of == "steps" else ""
    return f"spreads{steps} by {_figure(moved.spread_after)}, where {_figure(moved.spread_before)} was usual: {times} ({span})"


def _figure(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"  # noqa: PLR2004 - no exponents
