"""One series of numbers from a file: a column, the mean of it in each block of time, or how many rows each block has."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.study.files import Table, open_table
from loopline.app.study.naming import AT, first_named, is_moment
from loopline.app.study.times import read_times
from loopline.errors import InvalidInput, NotFound
from loopline.values import MICROSECOND, duration

ROWS = "rows"
"""Names no column, but how many rows a block has."""


@dataclass(frozen=True)
class SeriesRequest:
    """Which column of which file is watched, and how; what is empty is guessed or learnt.

    `false_pages_per_year` is None for one a year, and one in a thousand values where these are fewer.
    """

    file: str
    column: str
    name: str
    at: str = ""
    block: str = ""
    false_pages_per_year: float | None = None


@dataclass(frozen=True)
class Series:
    """Values (n,) in their order, finite; `at` (n,) in microseconds, UTC, or places from 0 where `timed` is False."""

    values: npt.NDArray[np.float64]
    at: npt.NDArray[np.int64]
    timed: bool
    notices: list[str]


def read_series(request: SeriesRequest, scratch: Path) -> Series:
    """The series of the file. Raises `NotFound` without one, and `InvalidInput` for a column that holds no numbers, or a block without times."""
    table = open_table(request.file, scratch / "series")
    counted = request.column == ROWS and ROWS not in table.schema
    at_column = request.at or _guessed(table, request.column)
    _check(table, request, at_column, counted=counted)
    frame = table.read([name for name in (at_column, "" if counted else request.column) if name])
    at, notices = _times(frame, at_column)
    value = pl.repeat(1.0, frame.height, eager=True) if counted else _numbers(frame[request.column])
    rows = pl.DataFrame({"at": at, "value": value}).with_columns(pl.col("value").fill_nan(None))
    known = rows.filter(pl.col("value").is_not_null() & pl.col("value").is_finite() & pl.col("at").is_not_null())
    if known.height < rows.height:
        missing = rows.height - known.height
        notices.append(
            f"{missing:,} of {rows.height:,} rows have no number{' or no time' if at_column else ''} and are left out."
        )
    known = known.sort("at", maintain_order=True)
    if request.block:
        known, told = _blocks(known, request.block, counted=counted)
        notices.append(told)
    elif at_column and known["at"].n_unique() < known.height:
        notices.append(
            "Several rows have one time; they count in the order of the file. --block 1d watches the mean of each day."
        )
    if not known.height:
        raise InvalidInput(
            "alone.no_series",
            f"{request.file} has no value of {request.column!r}",
            remedy="Name a column that holds numbers.",
        )
    return Series(known["value"].to_numpy().astype(np.float64), known["at"].to_numpy(), bool(at_column), notices)


def _guessed(table: Table, column: str) -> str:
    """The column that is called as times are, or the only one of times, if it can be read as times."""
    times = [name for name, dtype in table.typed.items() if isinstance(dtype, (pl.Datetime, pl.Date))]
    found = first_named(table.typed, AT, is_moment, (column,)) or (times[0] if len(times) == 1 else "")
    if found:
        try:
            read_times(table.read([found])[found])
        except InvalidInput:
            return ""
    return found


def _check(table: Table, request: SeriesRequest, at_column: str, *, counted: bool) -> None:
    for name in (at_column, "" if counted else request.column):
        if name and name not in table.schema:
            raise NotFound(
                "alone.series_no_column",
                f"{request.file} has no column {name!r}",
                remedy=f"It has {', '.join(table.schema)}. --series rows --block 1d counts rows.",
            )
    if (request.block or counted) and not (at_column and request.block):
        raise InvalidInput(
            "alone.series_block",
            "blocks of time need a column of times" if request.block else "rows are counted in blocks of time",
            remedy="Name the column of times with --at, and a block with --block 1d.",
        )
    if request.false_pages_per_year is not None and not at_column:
        raise InvalidInput(
            "alone.series_year",
            "without times it is not known how many values a year has",
            remedy="Name the column of times with --at, or leave out --false-pages-per-year: then one in 1,000 values is allowed.",
        )


def _times(frame: pl.DataFrame, at_column: str) -> tuple[pl.Series, list[str]]:
    if not at_column:
        return pl.int_range(frame.height, eager=True), [
            "There is no column of times: values are taken in the order of the file."
        ]
    read = read_times(frame[at_column])
    return read.micros, list(read.notices)


def _numbers(column: pl.Series) -> pl.Series:
    if not (column.dtype.is_numeric() or column.dtype in {pl.Boolean, pl.String}):
        raise _no_numbers(column)
    read = column.cast(pl.Float64, strict=False)
    if column.dtype == pl.String and read.null_count() > max(column.null_count(), len(column) // 2):
        raise _no_numbers(column)
    return read


def _no_numbers(column: pl.Series) -> InvalidInput:
    return InvalidInput(
        "alone.series_column",
        f"{column.name!r} holds {column.dtype}, no numbers",
        remedy="Name a column of numbers, or of true and false for a share.",
    )


def _blocks(rows: pl.DataFrame, block: str, *, counted: bool) -> tuple[pl.DataFrame, str]:
    """The mean of each block (start, end] that is whole, at its end; or how many rows, also where there are none."""
    length = duration(block) // MICROSECOND
    ends = (-(-rows["at"] // length) * length).alias("at")
    last = rows["at"].max()
    found = (
        rows.with_columns(ends)
        .group_by("at", maintain_order=True)
        .agg(pl.col("value").sum() if counted else pl.col("value").mean())
    )
    if counted and found.height:
        every = pl.int_range(int(found["at"][0]), int(found["at"][-1]) + 1, length, eager=True).alias("at")
        found = (
            pl.DataFrame({"at": every}).join(found, on="at", how="left").with_columns(pl.col("value").fill_null(0.0))
        )
    whole = found.filter(pl.col("at") <= last)
    whole = whole[1:] if counted else whole
    what = "how many rows there are" if counted else "the mean"
    return whole, f"Watched is {what} in blocks of {block}; blocks that are not over are left out."
