"""A stretch of predictions counted by block, as arrays: what is watched where there is no loop that keeps blocks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from loopline.values import from_micros

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Blocks:
    """Blocks (start, end] in the order of time, each with the rows from `first` up to, not including, `last`.

    `start` and `end` are microseconds since 1970, UTC; all arrays have shape (blocks,).
    """

    start: Ints
    end: Ints
    first: Ints
    last: Ints
    labelled: Ints

    def __len__(self) -> int:
        """How many."""
        return len(self.start)

    @property
    def predictions(self) -> Ints:
        """Rows of each block."""
        return self.last - self.first

    def times(self) -> Iterator[tuple[datetime, datetime]]:
        """Start and end of each block, UTC."""
        return (
            (from_micros(int(start)), from_micros(int(end))) for start, end in zip(self.start, self.end, strict=True)
        )

    def part(self, first: int, last: int | None = None) -> "Blocks":
        """Those from place `first` up to, not including, `last`."""
        cut = slice(first, last)
        return Blocks(self.start[cut], self.end[cut], self.first[cut], self.last[cut], self.labelled[cut])

    def of_rows(self, rows: int) -> Ints:
        """The place of its block for each of so many rows; -1 for one that is in none."""
        row = np.arange(rows)
        place = np.searchsorted(self.last, row, side="right")
        inside = (place < len(self)) & (row >= np.append(self.first, rows)[np.minimum(place, len(self))])
        return np.where(inside, place, -1)

    def within(self, begin: int, end: int) -> "Blocks":
        """Those with rows from `begin` up to, not including, `end`, which cuts none, counted from `begin`."""
        first, last = (int(np.searchsorted(edge, at)) for edge, at in ((self.first, begin), (self.last, end + 1)))
        one = self.part(first, max(first, last))
        return Blocks(one.start, one.end, one.first - begin, one.last - begin, one.labelled)

    def whole(self, rows: int, most: int) -> Iterator[slice]:
        """All rows, about `most` at a time, so that no block is cut."""
        begin = 0
        for edge in [*self.first.tolist(), *self.last[-1:].tolist()]:
            if edge - begin >= most:
                yield slice(begin, edge)
                begin = edge
        if begin < rows:
            yield slice(begin, rows)

    def sums(self, values: Floats) -> Floats:
        """The sum of `values` (rows,) in each block."""
        found = Sums(self)
        found.add(0, values)
        return found.total


class Sums:
    """Sums in blocks, of rows that come part by part: the same to the last digit however rows are cut in parts."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self.total: Floats = np.zeros(len(blocks))

    def add(self, begin: int, values: Floats | Mask) -> None:
        """Take the values (rows,) of rows from `begin` on in, each part after the one before."""
        end = begin + len(values)
        low = int(np.searchsorted(self._blocks.last, begin, side="right"))
        high = int(np.searchsorted(self._blocks.first, end, side="left"))
        if low >= high:
            return
        first = np.maximum(self._blocks.first[low:high] - begin, 0)
        last = np.minimum(self._blocks.last[low:high] - begin, len(values))
        sizes = np.maximum(last - first, 0)
        inside = values[int(first[0]) : int(last[-1])]
        if int(sizes.sum()) < len(inside):
            inside = np.concatenate([values[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True)])
        place = np.repeat(np.arange(high - low), sizes)
        # What the first block has so far comes first, as if its rows had never been parted.
        weights = np.concatenate([self.total[low : low + 1], inside])
        place = np.concatenate([[0], place])
        added = np.bincount(place, weights=weights, minlength=high - low)
        self.total[low] = added[0]
        self.total[low + 1 : high] += added[1:]


def cut_blocks(at: Ints, known: Mask, length: int, min_rows: int) -> Blocks:
    """Blocks of `length` microseconds at whole multiples from 1970; one of fewer than `min_rows` known rows joins the next.

    `at` (rows,) rises; `known` says which rows have a score and a label. A last block that stays small is left out.
    """
    return cut_parts([(at, known)], length, min_rows)


def cut_parts(parts: Iterable[tuple[Ints, Mask]], length: int, min_rows: int) -> Blocks:
    """As `cut_blocks`, from some rows after the other."""
    numbers, first, labelled = (np.zeros(0, dtype=np.int64) for _ in range(3))
    found: list[tuple[Ints, Ints, Ints]] = [(numbers, first, labelled)]
    rows = 0
    for at, known in parts:
        number = -(-at // length)
        begin = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
        counts = np.add.reduceat(known.astype(np.int64), begin) if len(at) else labelled
        found.append((number[begin], begin + rows, counts))
        rows += len(at)
    numbers, first, labelled = (np.concatenate(column) for column in zip(*found, strict=True))
    fresh = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1))
    numbers, first = numbers[fresh], first[fresh]
    labelled = np.add.reduceat(labelled, fresh) if len(fresh) else labelled
    last = np.append(first[1:], rows) if len(first) else first
    begin, close = _joined(labelled, min_rows)
    starts, ends = (numbers[begin] - 1) * length, numbers[close] * length
    counted = np.concatenate([[0], np.cumsum(labelled)])
    return Blocks(starts, ends, first[begin], last[close], counted[close + 1] - counted[begin])


def _joined(labelled: Ints, min_rows: int) -> tuple[Ints, Ints]:
    """First and last stretch of each block that has enough rows."""
    begin, close, waiting, since = [], [], 0, 0
    for place, count in enumerate(labelled.tolist()):
        waiting += count
        if waiting >= min_rows:
            begin.append(since)
            close.append(place)
            waiting, since = 0, place + 1
    return np.array(begin, dtype=np.int64), np.array(close, dtype=np.int64)
