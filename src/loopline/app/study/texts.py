"""Columns of few different texts, such as versions and decisions: a number for each row, and what the numbers stand for."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.study.shelf import Shelf

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Texts:
    """`codes` (rows,) are places in `values`, -1 where there is none."""

    name: str
    codes: Codes
    values: pl.Series

    def part(self, first: int, last: int) -> pl.Series:
        """Rows from `first` up to, not including, `last`."""
        return self._texts(self.codes[first:last])

    def at(self, places: Ints, shelf: Shelf) -> pl.Series:
        """Rows at rising places."""
        return self._texts(shelf.taken(self.codes, places))

    def _texts(self, codes: Codes) -> pl.Series:
        places = pl.Series(codes, dtype=pl.Int64)
        return self.values.gather(places.set(places < 0, None)).alias(self.name)


class Coding:
    """Numbers the texts of a column as they come, part by part."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def codes(self, column: pl.Series) -> Codes:
        """The numbers of some rows."""
        text = column.cast(pl.String)
        fresh = [one for one in text.drop_nulls().unique(maintain_order=True).to_list() if one not in self._known]
        self._known |= {one: len(self._known) + place for place, one in enumerate(fresh)}
        if not self._known:
            return np.full(len(column), -1, dtype=np.int32)
        numbered = text.replace_strict(
            list(self._known), list(self._known.values()), default=None, return_dtype=pl.Int32
        )
        return numbered.fill_null(-1).to_numpy()

    def texts(self, name: str, codes: Codes) -> Texts:
        """The column, once all parts were numbered."""
        return Texts(name, codes, pl.Series(name, list(self._known), dtype=pl.String))


def texts_of(column: pl.Series) -> Texts:
    """A column that is in memory."""
    coding = Coding()
    return coding.texts(column.name, coding.codes(column))
