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


class Value(msgspec.Struct, frozen=True, array_like=True):
    """A value of the series, at a time or a place in it, and its normal score among those before it; None for one that was only learnt from."""

    at: int
    value: float
    score: float | None = None


class Moved(msgspec.Struct, frozen=True):
    """A move, told at the value `seen`. Times are what the values were given with: microseconds since 1970 (UTC), or places.

    `way` is "higher", "lower", "wider" or "narrower"; it began likely at `onset`, no earlier than `earliest`, no later than `latest`. `before` and `after` are the level,
    the mean of so many values since what was usual began to be learnt and since the onset; of a series that walks (`of` is "steps", as `carry` is 1) the mean
    of its steps. The spreads are standard deviations of the same. `change` is the difference, of a spread the ratio, with an
    interval of 95 % as if the onset were known.
    """

    way: Literal["higher", "lower", "wider", "narrower"]
    of: Literal["level", "steps"]
    seen: int
    onset: int
    earliest: int
    latest: int
    before: float
    after: float
    spread_before: float
    spread_after: float
    values_before: int
    values_after: int
    change: float
    lower: float
    upper: float
    carry: float
    log_evidence: float
    log_threshold: float


class Beginning(msgspec.Struct, frozen=True):
    """Which way a series moved, and the places among the recent values where that likely began, at the earliest and at the latest."""

    way: Literal["higher", "lower", "wider", "narrower"]
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
    may: dict[Literal["higher", "lower", "wider", "narrower"], Floats] = {
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
    way, place = begun.way, begun.likely
    before = settled.plus_all([one.value for one in recent[:place]])
    steps = carry >= 1
    start = Sums().plus(before.last) if steps and before.count else Sums()
    after = start.plus_all([one.value for one in recent[place:]])
    moments = [(one.step, one.step_variance) if steps else (one.mean, one.variance) for one in (before, after)]
    (mean, variance), (mean_after, variance_after) = moments
    counts = [max(one.count - steps, 1) for one in (before, after)]
    change, lower, upper = (
        _difference(mean_after - mean, (variance, variance_after), counts, 0.0 if steps else carry)
        if way in _LEVEL
        else _ratio((variance, variance_after), counts)
    )
    found = Moved(
        way=way,
        of="steps" if steps else "level",
        seen=recent[-1].at,
        onset=recent[place].at,
        earliest=recent[begun.earliest].at,
        latest=recent[begun.latest].at,
        before=mean,
        after=mean_after,
        spread_before=math.sqrt(variance),
        spread_after=math.sqrt(variance_after),
        values_before=before.count,
        values_after=len(recent) - place,
        change=change,
        lower=lower,
        upper=upper,
        carry=carry,
        log_evidence=log_evidence,
        log_threshold=log_threshold,
    )
    return found, before


def _difference(
    difference: float, variances: tuple[float, float], counts: Sequence[int], carry: float
) -> tuple[float, float, float]:
    """By Student's t with one variance for both stretches, wider where values carry over (Bayley and Hammersley, 1946)."""
    freedom = max(sum(counts) - 2, 1)
    pooled = sum(variance * (count - 1) for variance, count in zip(variances, counts, strict=True)) / freedom
    inflated = (1 + min(carry, _STICKIEST)) / (1 - min(carry, _STICKIEST))
    error = math.sqrt(pooled * inflated * sum(1 / count for count in counts))
    room = quantile(_SURE, freedom) * error
    return difference, difference - room, difference + room


def _ratio(variances: tuple[float, float], counts: Sequence[int]) -> tuple[float, float, float]:
    """Of the standard deviations, on the scale of logs, where a deviation of n values has a standard error of 1 / sqrt(2 n)."""
    if not all(variances):
        return (math.inf if variances[1] else 0.0), 0.0, math.inf
    ratio = math.sqrt(variances[1] / variances[0])
    room = math.exp(quantile(_SURE, max(min(counts) - 1, 1)) * math.sqrt(sum(0.5 / count for count in counts)))
    return ratio, ratio / room, ratio * room


def told(moved: Moved, name: str, when: Callable[[int], str]) -> str:
    """The move in words; `when` tells a time or a place."""
    earliest, onset, latest = when(moved.earliest), when(moved.onset), when(moved.latest)
    likely = f" (between {earliest} and {latest})" if earliest != latest else ""
    lies = f"Since about {onset}{likely} {name}"
    over = f"over {moved.values_after:,} value{'s' if moved.values_after > 1 else ''}"
    if moved.way in _LEVEL:
        verb = "steps by" if moved.of == "steps" else "lies at"
        sizes = sorted(abs(end) for end in (moved.lower, moved.upper))
        much = f"{_figure(abs(moved.change))} {moved.way}"
        clear = moved.lower * moved.upper > 0
        span = f"{_figure(sizes[0])} to {_figure(sizes[1])}" if clear else "not yet clear by how much"
        return (
            f"{lies} {verb} {_figure(moved.after)}, where {_figure(moved.before)} was usual: {much} ({span}), {over}."
        )
    what = " from step to step" if moved.of == "steps" else ""
    return (
        f"{lies} is {moved.way}{what}: it spreads by {_figure(moved.spread_after)}, where {_figure(moved.spread_before)} was usual, "
        f"{_figure(moved.change)} times as much ({_figure(moved.lower)} to {_figure(moved.upper)}), {over}."
    )


def _figure(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"  # noqa: PLR2004 - no exponents
