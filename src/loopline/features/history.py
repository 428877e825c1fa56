"""Rows of a table's history as arrays: whose they are, and over which time each version is valid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from loopline.errors import InvalidInput, NotFound
from loopline.features.definitions import View, payload_columns
from loopline.features.double_double import Floats
from loopline.features.intervals import FOREVER, Ints, Mask

KEY, EVENT, KNOWN, TOMBSTONE = "_key", "_event_time", "_known_at", "_tombstone"
ROW = "_row"  # the number of a row in its table

_TEXT = (pl.String, pl.Categorical, pl.Enum)
_MOMENT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Rows:
    """Versions of rows, sorted by entity, event time and known time: version i belongs to the entity `codes[i]` and is valid
    over [known, until).

    Times are microseconds since 1970 UTC. `places` says where in `frame`, which holds the payload, each version stands.
    """

    codes: Ints
    event: Ints
    known: Ints
    until: Ints
    places: Ints
    frame: pl.DataFrame

    @cached_property
    def start(self) -> Ints:
        """From when a version can count: it is known, and it has happened."""
        return self.event if self.known is self.event else np.maximum(self.known, self.event)

    def end(self, length: int | None) -> Ints:
        """Until when a version can count, excluded: it is superseded, or older than `length` microseconds."""
        return self.until if length is None else np.minimum(self.until, self.event + length)

    def where(self, kept: Mask | Ints) -> "Rows":
        """The versions that a mask keeps, or in the order that places give."""
        return Rows(
            self.codes[kept], self.event[kept], self.known[kept], self.until[kept], self.places[kept], self.frame
        )

    def numbers(self, column: str) -> Floats:
        """A column as floats; NaN where it is null. Raises `InvalidInput` for one that holds no numbers."""
        return numbers(self.frame[column])[self.places]

    def present(self, column: str) -> Mask:
        """Where a column has a value: see `present`."""
        return present(self.frame[column])[self.places]

    def values(self, column: str, rows: Ints) -> pl.Series:
        """A column's values in `rows` of the frame, null for -1: numbers and booleans as Float64, text as String.

        Raises `InvalidInput` for other types.
        """
        series = self.frame[column]
        found = series.gather(pl.Series(np.maximum(rows, 0)).set(pl.Series(rows < 0), None))
        if is_text(series):
            return found.cast(pl.String)
        return pl.Series(column, numbers(found), nan_to_null=True)


def table_of(history: Mapping[str, pl.DataFrame | pl.LazyFrame], name: str) -> pl.DataFrame | pl.LazyFrame:
    """The history of a table. Raises `NotFound` where there is none."""
    if name not in history:
        raise NotFound(
            "features.table_missing",
            f"there is no history of table {name!r}",
            remedy=f"Pass it: history={{{name!r}: ...}}.",
            table=name,
        )
    return history[name]


def history_columns(given: Sequence[str], *views: View) -> list[str]:
    """Which of a history's columns the views, all over one table, need. Raises `InvalidInput` where one is missing."""
    payload = [column for view in views for column in (view.by, *payload_columns(view))]
    columns = list(dict.fromkeys([KEY, EVENT, KNOWN, TOMBSTONE, *payload]))
    require_columns(f"the history of {views[0].table!r}", given, columns)
    return columns


def require_columns(what: str, given: Sequence[str], columns: Sequence[str]) -> None:
    """Raise `InvalidInput` where `what`, which has the columns `given`, lacks one of `columns`."""
    missing = sorted(set(columns) - set(given))
    if missing:
        raise InvalidInput(
            "features.column_missing",
            f"{what} has no column {', '.join(missing)}",
            remedy=f"It has {', '.join(given)}.",
            missing=missing,
        )


def rows_of(frame: pl.DataFrame, codes: Ints, until: Ints) -> Rows:
    """The versions in `frame` that can count: of a known entity (code at least 0), no tombstones, ever valid."""
    event, known = moments(frame, EVENT), moments(frame, KNOWN)
    counts = (codes >= 0) & (until > known) & ~frame[TOMBSTONE].fill_null(value=False).to_numpy()
    places = _by_time(event, known, None if counts.all() else np.flatnonzero(counts))
    places = _by_code(codes) if places is None else places[_by_code(codes[places])]
    early = event[places]
    late = early if np.array_equal(event, known) else known[places]
    return Rows(codes[places], early, late, _same_or_at(until, places), places, frame)


def superseded_at(frame: pl.DataFrame) -> Ints:
    """When each version's key had a newer version, in microseconds; `FOREVER` for the newest.

    Of versions of a key known at the same time the last row wins: the others end when they begin.
    """
    until: Ints = np.full(frame.height, FOREVER)
    hashes = frame[KEY].hash()
    if hashes.n_unique() < frame.height:
        versions = frame.select(KEY, KNOWN).with_row_index(ROW).filter(hashes.is_duplicated())
        ends = superseded(versions)
        until[ends[ROW].to_numpy()] = ends["until"].to_numpy()
    return until


def superseded(versions: pl.DataFrame) -> pl.DataFrame:
    """Of versions (`_key`, `_known_at`, and `_row`, their order in the table), those with a successor: `_row`, `until`."""
    following = pl.col(KNOWN).to_physical().shift(-1)
    return (
        versions.sort(KEY, KNOWN, ROW)
        .select(ROW, until=pl.when(pl.col(KEY) == pl.col(KEY).shift(-1)).then(following))
        .drop_nulls()
    )


def moments(frame: pl.DataFrame, column: str) -> Ints:
    """A column of times as microseconds since 1970 UTC. Raises `InvalidInput` for nulls and for times without a zone."""
    series = frame[column]
    if not (isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone) or series.null_count():
        raise InvalidInput(
            "features.not_a_time",
            f"column {column!r} holds {series.dtype} with {series.null_count()} nulls, not times in UTC",
            remedy="Give times as Datetime('us', 'UTC') without nulls.",
            column=column,
        )
    return series.cast(_MOMENT).to_physical().to_numpy()


def numbers(series: pl.Series) -> Floats:
    """Numbers or booleans as floats; NaN for null. Raises `InvalidInput` for anything else."""
    if not (series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null)):
        raise InvalidInput(
            "features.not_numbers",
            f"column {series.name!r} holds {series.dtype}, not numbers",
            remedy="Only `count`, and a latest view of text, take it; or cast it in the source.",
            column=series.name,
        )
    return series.cast(pl.Float64).to_numpy()


def is_text(series: pl.Series) -> bool:
    """Whether the values are text."""
    return series.dtype in _TEXT


def present(series: pl.Series) -> Mask:
    """Where a series of any type has a value: neither null nor NaN nor infinite."""
    if series.dtype.is_float():
        finite: Mask = np.isfinite(series.to_numpy())
        return finite
    return series.is_not_null().to_numpy()


def _same_or_at(until: Ints, places: Ints) -> Ints:
    """`until[places]`; without corrections, which is the rule, a view of it: memory is what large histories wait for."""
    return until[: len(places)] if until.min(initial=FOREVER) == FOREVER else until[places]


def _by_time(event: Ints, known: Ints, places: Ints | None) -> Ints | None:
    """The places in order of event time, then known time; None for all in their order. Histories are mostly in order of
    time already, and numpy's stable sort is quick on what is.
    """
    if places is not None:
        event, known = event[places], known[places]
    backwards = (event[1:] < event[:-1]) | ((event[1:] == event[:-1]) & (known[1:] < known[:-1]))
    if not backwards.any():
        return places
    order = np.argsort(known, kind="stable")
    order = order[np.argsort(event[order], kind="stable")]
    return order if places is None else places[order]


def _by_code(codes: Ints) -> Ints:
    narrow = codes.astype(np.uint16) if codes.max(initial=0) <= np.iinfo(np.uint16).max else codes
    return np.argsort(narrow, kind="stable")
