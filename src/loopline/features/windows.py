"""Aggregates over sliding windows, at any places in time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from loopline.features.definitions import Aggregate, WindowView
from loopline.features.double_double import DoubleDouble, Floats, exactly, squares
from loopline.features.history import Rows
from loopline.features.intervals import Intervals, Places, active
from loopline.values import MICROSECOND


def windows(view: WindowView) -> dict[str, dict[str, Aggregate]]:
    """The view's aggregates by the length of their window, as it is written, in the order of first mention."""
    groups: dict[str, dict[str, Aggregate]] = {}
    for name, aggregate in view.features.items():
        groups.setdefault(aggregate.over, {})[name] = aggregate
    return groups


def window_features(view: WindowView, rows: Rows, places: Places) -> Iterator[tuple[str, Floats]]:
    """Each feature's name and its values per place; NaN stands for null."""
    for aggregates in windows(view).values():
        yield from window_values(aggregates, rows, places)


def window_values(aggregates: dict[str, Aggregate], rows: Rows, places: Places) -> Iterator[tuple[str, Floats]]:
    """As `window_features`, for aggregates over windows of one length."""
    length = next(iter(aggregates.values())).length // MICROSECOND
    kept, intervals = active(places, rows.codes, rows.start, rows.end(length))
    inside = rows.where(kept)
    summaries: dict[str, _Summary] = {}
    for name, aggregate in aggregates.items():
        if aggregate.op == "count":
            yield name, intervals.where(inside.present(aggregate.column)).counts().astype(np.float64)
            continue
        if aggregate.column not in summaries:
            summaries[aggregate.column] = _summary(intervals, inside.numbers(aggregate.column))
        yield name, getattr(summaries[aggregate.column], aggregate.op)()


def _summary(intervals: Intervals, values: Floats) -> "_Summary":
    finite = np.isfinite(values)
    values = values[finite]
    _, exponent = np.frexp(np.abs(values).max(initial=0.0))
    return _Summary(intervals.where(finite), np.ldexp(values, -exponent), exponent)


@dataclass(frozen=True)
class _Summary:
    """One column over one window. Values are scaled by a power of two to at most 1: no square overflows, no digit changes."""

    intervals: Intervals
    scaled: Floats
    exponent: int

    @cached_property
    def _counts(self) -> Floats:
        return self.intervals.counts().astype(np.float64)

    @cached_property
    def _sums(self) -> DoubleDouble:
        return self.intervals.sums(exactly(self.scaled))

    def sum(self) -> Floats:
        return np.ldexp(self._sums.high, self.exponent)

    def mean(self) -> Floats:
        return np.ldexp(_ratio(self._sums.high, self._counts), self.exponent)

    def std(self) -> Floats:
        """From n * sum(x * x) - sum(x)^2 in double-double: what cancels there was exact to 106 bits."""
        of_squares = self.intervals.sums(squares(self.scaled))
        spread = of_squares.times(exactly(self._counts)).minus(self._sums.times(self._sums)).high
        variance = _ratio(np.maximum(spread, 0.0), self._counts * (self._counts - 1.0))
        return np.ldexp(np.sqrt(variance), self.exponent)

    def max(self) -> Floats:
        return np.ldexp(_or_null(self.intervals.greatest(self.scaled)), self.exponent)

    def min(self) -> Floats:
        return np.ldexp(-_or_null(self.intervals.greatest(-self.scaled)), self.exponent)


def _ratio(above: Floats, below: Floats) -> Floats:
    """The quotient, NaN where `below` is 0."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _or_null(values: Floats) -> Floats:
    return np.where(np.isneginf(values), np.nan, values)
