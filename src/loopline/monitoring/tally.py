"""A stretch of predictions counted by block, as arrays: what is watched where there is no loop that keeps blocks."""

from collections.abc import Iterator
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

    def sums(self, values: Floats) -> Floats:
        """The sum of `values` (rows,) in each block."""
        if not len(self):
            return np.zeros(0)
        total = np.concatenate([[0.0], np.cumsum(values[self.first[0] : self.last[-1]])])
        summed: Floats = total[self.last - self.first[0]] - total[self.first - self.first[0]]
        return summed


def cut_blocks(at: Ints, known: Mask, length: int, min_rows: int) -> Blocks:
    """Blocks of `length` microseconds at whole multiples from 1970; one of fewer than `min_rows` known rows joins the next.

    `at` (rows,) rises; `known` says which rows have a score and a label. A last block that stays small is left out.
    """
    number = -(-at // length)
    borders = np.flatnonzero(np.diff(number)) + 1
    first, last = np.concatenate([[0], borders]), np.concatenate([borders, [len(at)]])
    labelled = np.add.reduceat(known.astype(np.int64), first) if len(at) else np.zeros(0, dtype=np.int64)
    begin, close = _joined(labelled, min_rows)
    starts, ends = (number[first[begin]] - 1) * length, number[first[close]] * length
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
