"""Scales: from values to pixels, and where the ticks stand."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from loopline.app.report.figure import fixed
from loopline.values import micros, utc

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY = timedelta(days=1)
_FEW_DAYS = timedelta(days=75)


@dataclass(frozen=True)
class Scale:
    """The line from values in [low, high] to pixels in [start, end]; `end` may be the lesser, as pixels count downwards."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value; one outside gets the nearest edge."""
        width = self.high - self.low
        share = (min(max(value, self.low), self.high) - self.low) / width if width else 0.0
        return self.start + share * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether the value lies on the scale."""
        return self.low <= value <= self.high

    def at_time(self, value: datetime) -> float:
        """The pixel of a time, on a scale of microseconds."""
        return self.at(micros(value))


@dataclass(frozen=True)
class Tick:
    """A place on an axis and what is written there."""

    at: float
    label: str


def span(values: Iterable[float], *, pad: float = 0.06) -> tuple[float, float]:
    """Limits around the values with some air; around nothing, or one value, still a range."""
    known = [value for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    spread, size = high - low, max(abs(low), abs(high))
    air = (spread if spread > 1e-9 * size else size) * pad or 1.0
    return low - air, high + air


def ticks(low: float, high: float, most: int) -> list[Tick]:
    """At most about `most` round values in [low, high]: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [Tick(number * step, fixed(number * step, decimals)) for number in range(first, last + 1)]


def time_ticks(start: datetime, end: datetime, most: int) -> list[Tick]:
    """Firsts of months, or days where the time is short; the year stands with the first tick and each January."""
    if end - start <= _FEW_DAYS:
        return _days(utc(start), utc(end), most)
    months = [moment for moment in _firsts(utc(start), utc(end)) if start <= moment <= end]
    every = next((step for step in (1, 2, 3, 6, 12, 24, 60) if len(months) / step <= most), 120)
    chosen = [moment for moment in months if (moment.year * 12 + moment.month - 1) % every == 0]
    return [Tick(micros(moment), _month_label(moment, first=moment == chosen[0])) for moment in chosen]


def month_start(month: str) -> datetime:
    """The first moment of a month written `YYYY-MM`, in UTC."""
    return utc(datetime.fromisoformat(f"{month}-01T00:00:00+00:00"))


def next_month(moment: datetime) -> datetime:
    """The first moment of the month after."""
    return (moment.replace(day=1) + timedelta(days=32)).replace(day=1)


def _firsts(start: datetime, end: datetime) -> list[datetime]:
    found = [start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)]
    while found[-1] <= end:
        found.append(next_month(found[-1]))
    return found


def _month_label(moment: datetime, *, first: bool) -> str:
    name = MONTHS[moment.month - 1]
    return f"{name} {moment.year}" if first or moment.month == 1 else name


def _days(start: datetime, end: datetime, most: int) -> list[Tick]:
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    total = (end - midnight).days + 1
    every = next((step for step in (1, 2, 7, 14) if total / step <= most), 28)
    found = [midnight + number * _DAY for number in range(0, total + 1, every)]
    inside = [moment for moment in found if start <= moment <= end]
    return [Tick(micros(moment), f"{moment.day} {MONTHS[moment.month - 1]}") for moment in inside]
