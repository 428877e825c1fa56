"""Readers: ready-made source functions. Each gives exactly the rows that became known in a window."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import polars as pl

from loopline.errors import InvalidInput
from loopline.sources.known import Delayed, KnownAt, known_column, refuse_taken
from loopline.sources.times import read_times
from loopline.tables.casting import cast_each
from loopline.tables.schema import UTC_TIME
from loopline.values import Window, canonical_json, digest, duration


@dataclass(frozen=True)
class Terms:
    """What a declaration tells a reader: the columns of the two times, or the rule for the second, and the dtypes expected.

    `columns` are those declared, else those that the table has; None before there is either.
    """

    known_at: KnownAt
    event_time: str | None = None
    columns: Mapping[str, pl.DataType] | None = None

    @property
    def expected(self) -> Mapping[str, pl.DataType]:
        """The dtypes expected, by column."""
        return self.columns or {}

    @property
    def time_columns(self) -> set[str]:
        """The columns that have to hold moments."""
        needed = {self.known_at.column} if isinstance(self.known_at, Delayed) else {known_column(self.known_at)}
        declared = {name for name, dtype in self.expected.items() if isinstance(dtype, pl.Datetime)}
        return needed | declared | ({self.event_time} if self.event_time else set())


@runtime_checkable
class Reader(Protocol):
    """Reads rows from somewhere. Raises an error that says what to do where that place cannot be read."""

    def read(self, window: Window, terms: Terms) -> pl.DataFrame:
        """The rows that became known in the window, and those without a time of knowledge, which go to quarantine."""
        ...

    def describe(self) -> dict[str, Any]:
        """What is read and how, as plain values without secrets; what plans show and digests cover."""
        ...


@dataclass(frozen=True)
class Reading:
    """A reader bound to a source's declaration: its source function."""

    reader: Reader
    terms: Terms

    def __call__(self, window: Window) -> pl.DataFrame:
        """The rows that became known in the window."""
        return self.reader.read(window, self.terms)

    def given(self, window: Window, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """As a call, where the table has `columns` already: text is read as what the table holds."""
        expected = self.terms.columns or columns
        return self.reader.read(window, Terms(self.terms.known_at, self.terms.event_time, expected))

    @property
    def code(self) -> str:
        """The digest of what is read and how."""
        return digest(canonical_json(self.reader.describe()))


def settled(
    rows: pl.DataFrame, window: Window, terms: Terms, zone: str | None, *, written: datetime | None = None
) -> pl.DataFrame:
    """Rows as read, brought to the terms: moments in UTC, the times of knowledge by their rule, the dtypes expected where no
    value is lost, and of all that the rows known in the window. `written` is when their file was.

    Rows without a time of knowledge are given too, so that they are quarantined and not passed over; of a file once, in the
    window in which it was written. Raises `InvalidInput` "source.no_such_column" and as `read_times`.
    """
    if rows.width == 0:
        return rows
    refuse_taken(rows.columns, terms.known_at)
    _refuse_absent(rows, terms)
    known = known_column(terms.known_at)
    timed = _with_known(read_times(rows, terms.time_columns, zone), terms.known_at, written)
    moment = cast_each(timed[known], UTC_TIME)
    inside = moment.is_between(window.start, window.end, closed="right")
    if written is None or written in window:
        inside = inside | moment.is_null()
    return as_expected(timed.filter(inside.fill_null(value=False)), terms.expected)


def as_expected(rows: pl.DataFrame, expected: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Each column as the dtype expected of it, where that loses no value; the others as they are."""
    cast = {name: cast_each(rows[name], dtype) for name, dtype in expected.items() if name in rows.columns}
    return rows.with_columns(one for name, one in cast.items() if one.null_count() == rows[name].null_count())


def _with_known(rows: pl.DataFrame, known_at: KnownAt, written: datetime | None) -> pl.DataFrame:
    if isinstance(known_at, str):
        return rows
    if isinstance(known_at, Delayed):
        moment = cast_each(rows[known_at.column], UTC_TIME)
        return rows.with_columns((moment + duration(known_at.by)).alias(known_column(known_at)))
    if written is None:
        raise InvalidInput(
            "source.nothing_written",
            "known_at=modified() is for files, and this is none",
            remedy="Name the column that says when a row became known, or use delayed(column, by).",
        )
    return rows.with_columns(pl.lit(written, UTC_TIME).alias(known_column(known_at)))


def _refuse_absent(rows: pl.DataFrame, terms: Terms) -> None:
    named = terms.known_at.column if isinstance(terms.known_at, Delayed) else terms.known_at
    for name in (named, terms.event_time):
        if isinstance(name, str) and name not in rows.columns and name != known_column(terms.known_at):
            raise _no_such_column(name, rows.columns)
    if isinstance(terms.known_at, str) and terms.known_at not in rows.columns:
        raise _no_such_column(terms.known_at, rows.columns)


def _no_such_column(name: str, columns: list[str]) -> InvalidInput:
    return InvalidInput(
        "source.no_such_column",
        f"there is no column {name!r}; there are: {', '.join(columns)}",
        remedy="Name a column that is there, or give the time of knowledge by a rule: modified(), delayed(column, by).",
        column=name,
    )
