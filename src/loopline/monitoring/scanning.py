"""The rows of a scan read a few columns at a time, in batches as they lie in the file."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import polars as pl

T = TypeVar("T")


def by_columns(
    rows: pl.LazyFrame, columns: Sequence[str], at_once: int, made: Callable[[Iterator[pl.DataFrame]], T]
) -> list[T]:
    """What is `made` of the batches, at least one, of some columns after the others.

    A batch is a group of the file's rows: a part of any other size would have groups unpacked twice. While one is looked at, the next ones are
    read. So many columns are taken together that a batch has about `at_once` values: fewer take little longer, more take more memory.
    """
    found: list[T] = []
    left, longest = list(columns), at_once

    def batches(some: Sequence[str]) -> Iterator[pl.DataFrame]:
        nonlocal longest
        longest, none = 1, True
        for batch in rows.select(some).collect_batches():
            longest, none = max(longest, len(batch)), False
            yield batch
        if none:
            yield rows.select(some).head(0).collect()

    while left:
        some = left[: max(1, at_once // longest)]
        left = left[len(some) :]
        found.append(made(batches(some)))
    return found
