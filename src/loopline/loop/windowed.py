"""Aggregates over sliding windows, as a loop file names them."""

from collections.abc import Sequence
from dataclasses import dataclass

from loopline.features.definitions import Op
from loopline.loop.mistake import blaming_caller
from loopline.values import duration

Over = str | Sequence[str]


@dataclass(frozen=True)
class Windowed:
    """An aggregate over one or more sliding windows, not yet bound to an entity."""

    op: Op
    column: str
    over: tuple[str, ...]


def count(column: str, *, over: Over) -> Windowed:
    """How many values there are in each window."""
    return _windowed("count", column, over)


def sum_(column: str, *, over: Over) -> Windowed:
    """The sum of the values in each window."""
    return _windowed("sum", column, over)


def mean(column: str, *, over: Over) -> Windowed:
    """The mean of the values in each window, e.g. `mean("arr_delay", over=["3h", "7d"])`."""
    return _windowed("mean", column, over)


def std(column: str, *, over: Over) -> Windowed:
    """The sample standard deviation of the values in each window."""
    return _windowed("std", column, over)


def min_(column: str, *, over: Over) -> Windowed:
    """The least value in each window."""
    return _windowed("min", column, over)


def max_(column: str, *, over: Over) -> Windowed:
    """The greatest value in each window."""
    return _windowed("max", column, over)


def _windowed(op: Op, column: str, over: Over) -> Windowed:
    windows = (over,) if isinstance(over, str) else tuple(over)
    with blaming_caller():
        for window in windows:
            duration(window)
    return Windowed(op, column, windows)
