"""Where an id stands though no source says whose its rows are: homes of models that are only watched or served."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from loopline.access.needles import distinctive
from loopline.tables.tables import Tables

_PREFIXES = ("feature_", "feature:")


def columns_with(tables: Tables, home: Path, value: str) -> list[str]:
    """The columns, features by their own names, that hold `value` as a whole; for a short one only keys, which it may be of many."""
    frames = [*(tables.open(name).read() for name in tables.names()), *_references(home)]
    if not distinctive(value):
        return ["_key"] if any("_key" in frame.columns for frame in frames) else []
    found = {column for frame in frames for column in _holding(frame, value)}
    return sorted({_plain(column) for column in found})


def _references(home: Path) -> Iterator[pl.DataFrame]:
    for path in sorted((home / "alone").glob("*.parquet")):
        yield pl.read_parquet(path)


def _holding(frame: pl.DataFrame, value: str) -> Iterator[str]:
    for column in frame.get_columns():
        plain = column.dtype == pl.String or column.dtype.is_integer()
        if plain and (column.cast(pl.String) == value).any():
            yield column.name


def _plain(column: str) -> str:
    for prefix in _PREFIXES:
        column = column.removeprefix(prefix)
    return column
