"""Which rows are active at which places: the one kernel under offline and online features.

A row is active over a half-open stretch of time. Ask at sorted places (offline: the queries; online: the moments where
something changes), and each row covers a range of places; every aggregate is then a sum or a maximum over ranges.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from loopline.features.double_double import DoubleDouble, Floats, running_sums

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

Numbers = TypeVar("Numbers", NDArray[np.float64], NDArray[np.int64])

_LOW_BITS = 0xFFFF
FOREVER = np.iinfo(np.int64).max


class Places:
    """Pairs of entity code and time, sorted: where to ask.

    `codes` and `times` (microseconds) are int64 of one length; a code below 0 belongs to no row. `order` sorts them.
    """

    def __init__(self, codes: Ints, times: Ints) -> None:
        self._top = int(codes.max(initial=-1)) + 1
        self._moments = _moments(times, self._top)
        addresses = self._address(codes, times)
        self.order: Ints = np.argsort(addresses)
        self.codes = codes[self.order]
        self.times = times[self.order]
        self._addresses = addresses[self.order]

    def __len__(self) -> int:
        return len(self.codes)

    def first(self, codes: Ints, times: Ints) -> Ints:
        """The first place of each entity at or after each time; where it has none, the first of the entities after it.

        Fastest for codes in ascending order.
        """
        return np.searchsorted(self._addresses, self._address(codes, times))

    def last_begun(self, codes: Ints, starts: Ints) -> Ints:
        """For each place the last of its entity's rows, in their order, that began there or before; -1 where none did.

        The rows are sorted by code.
        """
        addresses = self._address(codes, starts)
        if (addresses[1:] >= addresses[:-1]).all():  # there are fewer places than rows: look for those
            last = np.searchsorted(addresses, self._addresses, side="right") - 1
        else:
            best = np.full(len(self) + 1, -1)
            np.maximum.at(best, np.searchsorted(self._addresses, addresses), np.arange(len(addresses)))
            last = np.maximum.accumulate(best[:-1])
        return np.where(np.append(codes, -1)[last] == self.codes, last, -1)

    def unsorted(self, values: Numbers) -> Numbers:
        """Values per place, back in the order in which the places were given."""
        given = np.empty_like(values)
        given[self.order] = values
        return given

    def _address(self, codes: Ints, times: Ints) -> Ints:
        """One integer for a pair, in the pairs' order; entities and times beyond the places' own become one."""
        if codes.max(initial=0) > self._top:
            codes = np.minimum(codes, self._top)
        if isinstance(self._moments, range):
            first, end = self._moments.start, self._moments.stop
            ranks = np.clip(times, first, end)
            ranks -= first
        else:
            end, first = len(self._moments), 0
            ranks = np.searchsorted(self._moments, times)
        ranks += codes * (end - first + 1)
        return ranks


@dataclass(frozen=True)
class Intervals:
    """Row i covers the places `first[i] <= place < last[i]` out of `size`; every row covers at least one."""

    first: Ints
    last: Ints
    size: int

    def where(self, mask: Mask) -> "Intervals":
        """The rows that `mask` keeps."""
        return self if mask.all() else replace(self, first=self.first[mask], last=self.last[mask])

    @cached_property
    def begun(self) -> Ints:
        """The number of rows that began at or before each place."""
        return _counts(self.first, self.size)

    @cached_property
    def ended(self) -> Ints:
        """The number of rows that ended at or before each place."""
        return _counts(self.last, self.size)

    @cached_property
    def _orders(self) -> tuple[Ints, Ints]:
        return _order(self.first), _order(self.last)

    def counts(self) -> Ints:
        """The number of active rows per place."""
        return self.begun - self.ended

    def sums(self, values: DoubleDouble) -> DoubleDouble:
        """The sum of the active rows' values per place: what began until there less what ended until there."""
        by_first, by_last = self._orders
        begun = running_sums(values.at(by_first)).at(self.begun)
        return begun.minus(running_sums(values.at(by_last)).at(self.ended))

    def greatest(self, values: Floats) -> Floats:
        """The greatest value of the active rows per place, -inf where none is: a segment tree over the places, filled and
        asked level by level for all rows at once, in O((rows + places) log places).
        """
        tree = np.full(2 * self.size, -np.inf)
        low, high = self.first + self.size, self.last + self.size
        while len(low):
            odd = (low & 1).astype(bool)
            np.maximum.at(tree, low[odd], values[odd])
            odd = (high & 1).astype(bool)
            np.maximum.at(tree, high[odd] - 1, values[odd])
            low, high = (low + 1) >> 1, high >> 1
            left = low < high
            low, high, values = low[left], high[left], values[left]
        for level in _levels(self.size):
            tree[level] = np.maximum(tree[level], tree[level >> 1])
        return tree[self.size :]


def active(places: Places, codes: Ints, start: Ints, end: Ints) -> tuple[Mask, Intervals]:
    """The rows that are active over [start, end) at some of the places: a mask over all rows, and those rows' ranges."""
    first, last = places.first(codes, start), places.first(codes, end)
    kept = first < last
    return kept, Intervals(first[kept], last[kept], len(places))


def _moments(times: Ints, codes: int) -> range | Ints:
    """The times that addresses tell apart: every microsecond between the first and the last, or where pairs with so many
    entities would not fit into 63 bits, those that occur.
    """
    if len(times) == 0:
        return range(0)
    moments = range(int(times.min()), int(times.max()) + 1)
    return moments if (codes + 1) * (len(moments) + 1) < FOREVER else np.unique(times)


def _levels(size: int) -> list[Ints]:
    """The nodes of a tree over `size` leaves, so that each list's parents lie in earlier ones."""
    starts = [2]
    while starts[-1] < 2 * size:
        starts.append(2 * starts[-1])
    return [np.arange(start, min(2 * start, 2 * size)) for start in starts[:-1]]


def _counts(bounds: Ints, size: int) -> Ints:
    return np.cumsum(np.bincount(bounds, minlength=size + 1))[:size].astype(np.int64, copy=False)


def _order(bounds: Ints) -> Ints:
    """The stable order of integers in [0, 2**32): two passes of numpy's radix sort, several times faster than its merge sort."""
    if len(bounds) == 0 or (bounds[1:] >= bounds[:-1]).all():
        return np.arange(len(bounds))
    low = np.argsort((bounds & _LOW_BITS).astype(np.uint16), kind="stable")
    if bounds.max() <= _LOW_BITS:
        return low
    return low[np.argsort((bounds >> 16)[low].astype(np.uint16), kind="stable")]
