"""Rows that say the same key and time as an earlier one, found in memory of eight bytes a row at most."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.scoring.batch.frame_contract import REASON, ROW

Hashes = npt.NDArray[np.uint64]

_BUCKETS = 16
_SHIFT = np.uint64(60)


def hashes(rows: pl.DataFrame, key: str, at: str) -> Hashes:
    """A number of 64 bits for each row without a reason, equal where key and time are; uint64 of shape (rows,)."""
    right = rows.filter(pl.col(REASON).is_null())
    return right.select(pl.struct(key, at).hash()).to_series().to_numpy()


def duplicates(found: Sequence[Hashes], parts: Sequence[Path], key: str, at: str) -> list[int]:
    """The numbers of the rows that repeat an earlier one, rising. `found` are the hashes of the rows in `parts`.

    Equal hashes are only suspects: their rows are read again and compared.
    """
    suspects = np.concatenate([np.empty(0, np.uint64), *_repeated(found)])
    if not suspects.size:
        return []
    rows = pl.concat([_suspected(part, suspects, key, at) for part in parts])
    again = rows.sort(ROW).filter(~pl.struct(key, at).is_first_distinct())
    return [int(number) for number in again[ROW].sort()]


def _repeated(found: Sequence[Hashes]) -> Iterator[Hashes]:
    for bucket in range(_BUCKETS):
        sorted_ = np.sort(np.concatenate([np.empty(0, np.uint64), *(one[one >> _SHIFT == bucket] for one in found)]))
        yield np.unique(sorted_[1:][sorted_[1:] == sorted_[:-1]])


def _suspected(part: Path, suspects: Hashes, key: str, at: str) -> pl.DataFrame:
    rows = pl.read_parquet(part, columns=[ROW, REASON, key, at]).filter(pl.col(REASON).is_null())
    seen = rows.select(pl.struct(key, at).hash()).to_series().to_numpy()
    return rows.filter(pl.Series(np.isin(seen, suspects), dtype=pl.Boolean)).select(ROW, key, at)
