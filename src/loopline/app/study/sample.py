"""The columns of the watched rows, read one at a time, part by part, and at most about a million and a half rows of each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.study.files import Table
from loopline.app.study.rows import Rows
from loopline.monitoring.tally import Blocks

Ints = npt.NDArray[np.int64]

MOST_ROWS = 1_500_000
_LEAST_OF_A_BLOCK = 50


@dataclass(frozen=True)
class Sample:
    """Places of rows, evenly spread in each block: `rows` (sampled,) in the order of time, `block` (sampled,) each one's block."""

    rows: Ints
    block: Ints
    whole: bool

    def bounds(self, blocks: int) -> Ints:
        """Where each block begins in the sample, and the end; shape (blocks + 1,)."""
        return np.searchsorted(self.block, np.arange(blocks + 1))

    def at(self, places: Ints) -> "Sample":
        """Some of them."""
        return Sample(self.rows[places], self.block[places], whole=False)


def spread(blocks: Blocks, most: int = MOST_ROWS) -> Sample:
    """Every row where there are at most `most`, else every so-manieth of each block, and never fewer than fifty of it."""
    each = max(_LEAST_OF_A_BLOCK, most // max(len(blocks), 1))
    parts = [_evenly(int(first), int(last), each) for first, last in zip(blocks.first, blocks.last, strict=True)]
    rows = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
    block = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Sample(rows, block, len(rows) == int(blocks.predictions.sum()))


def _evenly(first: int, last: int, most: int) -> Ints:
    if last - first <= most:
        return np.arange(first, last)
    return first + (np.arange(most) * ((last - first) / most)).astype(np.int64)


def columns_of(table: Table, names: tuple[str, ...], rows: Rows, sample: Sample) -> Iterator[pl.Series]:
    """Each of the columns for the sampled rows, one column and a part of the rows read at once."""
    places = rows.taken(rows.order, sample.rows)
    rising = None if (np.diff(places) > 0).all() else np.argsort(places, kind="stable")
    places = places if rising is None else places[rising]
    back = None if rising is None else pl.Series(np.argsort(rising), dtype=pl.UInt32)
    size = rows.shelf.part
    for name in names:
        parts = []
        for begin in range(0, table.rows, size):
            first, last = np.searchsorted(places, [begin, begin + size])
            if first < last or not begin:
                column = table.part([name], begin, size)[name]
                parts.append(_plain(column.gather(pl.Series(places[first:last] - begin, dtype=pl.UInt32))))
        found = pl.concat(parts, rechunk=True)
        yield found if back is None else found.gather(back)


def _plain(column: pl.Series) -> pl.Series:
    return column.cast(pl.String) if isinstance(column.dtype, (pl.Categorical, pl.Enum)) else column
