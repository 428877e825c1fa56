"""Sums to about 106 bits, on arrays: pairs of floats whose unevaluated sum is the number.

A window's sum is the difference of two running sums. In plain floats that loses the digits of small windows to the size of all
that came before, and a variance loses twice as many. In pairs the running sums are as good as exact, so a window's
answer does not depend on what lies outside of it or on the order in which rows came. Error-free transformations are
Knuth's (two-sum), Veltkamp's and Dekker's (A floating-point technique for extending the available precision, 1971).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SPLITTER = 2.0**27 + 1.0


class DoubleDouble(NamedTuple):
    """Arrays of equal shape, float64; the number is `high + low`, with |low| at most half a unit in the last place of high
    once normalised. Finite below 1e290 in size: scale before.
    """

    high: Floats
    low: Floats

    def at(self, places: NDArray[np.int64]) -> "DoubleDouble":
        """The numbers at `places`."""
        return DoubleDouble(self.high[places], self.low[places])

    def minus(self, other: "DoubleDouble") -> "DoubleDouble":
        """The difference."""
        high, error = _two_sum(self.high, -other.high)
        return _normal(high, error + (self.low - other.low))

    def times(self, other: "DoubleDouble") -> "DoubleDouble":
        """The product."""
        high, error = _two_product(self.high, other.high)
        return _normal(high, error + (self.high * other.low + self.low * other.high))


def exactly(values: Floats) -> DoubleDouble:
    """Plain floats as pairs."""
    return DoubleDouble(values, np.zeros_like(values))


def squares(values: Floats) -> DoubleDouble:
    """The squares of plain floats, exact."""
    return DoubleDouble(*_two_product(values, values))


def running_sums(values: DoubleDouble) -> DoubleDouble:
    """The sums of the first 0, 1, ..., n values: n + 1 numbers."""
    high = _cumulative(values.high)
    _, errors = _two_sum(high[:-1], values.high)
    return DoubleDouble(high, _cumulative(errors + values.low))


def _cumulative(values: Floats) -> Floats:
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    return sums


def _two_sum(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    total = left + right
    shadow = total - left
    return total, (left - (total - shadow)) + (right - shadow)


def _two_product(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    product = left * right
    left_high, left_low = _split(left)
    right_high, right_low = _split(right)
    error = ((left_high * right_high - product) + left_high * right_low + left_low * right_high) + left_low * right_low
    return product, error


def _split(values: Floats) -> tuple[Floats, Floats]:
    scaled = _SPLITTER * values
    high = scaled - (scaled - values)
    return high, values - high


def _normal(high: Floats, low: Floats) -> DoubleDouble:
    return DoubleDouble(*_two_sum(high, low))
