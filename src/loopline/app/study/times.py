"""Times as people write them, as microseconds since 1970 in UTC."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import polars as pl

from loopline.errors import InvalidInput
from loopline.values import micros

Reading = Callable[[pl.Series], pl.Series]

_NOON = 12 * 3600 * 10**6
_DAY = 2 * _NOON
_READ = 0.9
_UNITS = (
    (1e17, 10**3, "nanoseconds"),
    (1e14, -1, "microseconds"),
    (1e11, 10**-3, "milliseconds"),
    (1e8, 10**-6, "seconds"),
)
_FORMATS = (
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%Y%m%d",
)


@dataclass(frozen=True)
class Times:
    """`micros` (Int64, null where there is no time) and what was assumed of them, in words."""

    micros: pl.Series
    notices: list[str]


def read_times(column: pl.Series) -> Times:
    """The moments of a column of times, dates, texts or numbers since 1970. Raises `InvalidInput` for anything else.

    A time without a zone is taken as UTC. Days without a time of day are taken as their noon, so that each lies within its
    day however blocks are cut.
    """
    reader = TimeReader(column)
    found = reader.read(column)
    shift, notices = reader.told()
    return Times(found + shift, notices)


class TimeReader:
    """Reads a column of times part by part, as `read_times`: how they are written is told by `first`, rows that hold some.

    Raises `InvalidInput` where these are no times.
    """

    def __init__(self, first: pl.Series) -> None:
        self._name, self._first = first.name, first
        self._given, self._lost = 0, 0
        self._days, self._zoned = True, False
        self._told = ""
        self._micros = self._reading(first)

    def read(self, column: pl.Series) -> pl.Series:
        """Some rows, in microseconds since 1970; days are their midnight until `told` says by what they are to be moved."""
        found = self._micros(column)
        known = found.drop_nulls()
        self._given += len(column) - column.null_count()
        self._lost += found.null_count() - column.null_count()
        self._days = self._days and bool((known % _DAY == 0).all())
        return found

    def told(self) -> tuple[int, list[str]]:
        """By how many microseconds all are to be moved, once all were read, and what was assumed, in words."""
        name = self._name
        if self._told:
            return 0, [self._told]
        text = self._first.dtype == pl.String
        if text and (not self._given or self._lost > (1 - _READ) * self._given):
            raise _no_time(self._first)
        lost = [f"{self._lost:,} values of {name} are no times and are left out."] if text and self._lost else []
        if self._zoned:
            return 0, lost
        if self._days and self._given > self._lost:
            return _NOON, [f"{name} holds days: each is taken as its noon, UTC.", *lost]
        return 0, [f"{name} has no time zone: it is taken as UTC.", *lost]

    def _reading(self, first: pl.Series) -> Reading:
        if first.dtype == pl.Date:
            return lambda column: column.cast(pl.Datetime("us")).dt.timestamp("us")
        if isinstance(first.dtype, pl.Datetime):
            return self._moments
        if first.dtype.is_numeric():
            return self._numbers(first)
        if first.dtype == pl.String:
            return self._texts(first)
        raise _no_time(first)

    def _moments(self, column: pl.Series) -> pl.Series:
        zone = getattr(column.dtype, "time_zone", None)
        self._zoned = self._zoned or zone is not None
        return column.dt.timestamp("us") if zone is None else column.dt.convert_time_zone("UTC").dt.timestamp("us")

    def _written(self, way: Reading, column: pl.Series) -> pl.Series:
        return self._moments(way(column))

    def _numbers(self, first: pl.Series) -> Reading:
        numbers = first.cast(pl.Float64, strict=False)
        middle = numbers.filter(numbers.is_finite()).median() if len(numbers) else None
        size = float(middle) if isinstance(middle, (int, float)) else 0.0
        for least, factor, unit in _UNITS:
            if size >= least:
                self._told = f"{first.name} is taken as {unit} since 1970, UTC."
                return partial(_scaled, factor=factor)
        raise _no_time(first)

    def _texts(self, first: pl.Series) -> Reading:
        given = len(first) - first.null_count()
        ways: list[Reading] = [_iso, *(partial(_as_written, pattern=pattern) for pattern in _FORMATS)]
        for way in ways if given else []:
            read = way(first)
            if len(read) - read.null_count() >= _READ * given:
                return partial(self._written, way)
        as_numbers = first.cast(pl.Float64, strict=False)
        if as_numbers.null_count() == first.null_count() and given:
            scaled = self._numbers(as_numbers)
            return lambda column: scaled(column.cast(pl.Float64, strict=False))
        raise _no_time(first)


def parse_moment(text: str) -> datetime:
    """One moment that a person typed: a day or a time, UTC unless it says otherwise. Raises `InvalidInput`."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            "alone.bad_moment", f"{text!r} is no time", remedy="Write e.g. 2024-06-01 or 2024-06-01T12:00."
        ) from None
    if read.tzinfo is not None:
        return read
    return datetime.fromisoformat(f"{read.isoformat()}+00:00")


def moment_micros(text: str) -> int:
    """As `parse_moment`, in microseconds since 1970."""
    return micros(parse_moment(text))


def _as_written(column: pl.Series, pattern: str) -> pl.Series:
    return column.str.to_datetime(pattern, strict=False, time_unit="us")


def _scaled(column: pl.Series, factor: float) -> pl.Series:
    """In microseconds; whole numbers stay exact."""
    if column.dtype.is_float():
        exact = column.cast(pl.Float64)
        micro = exact / factor if factor > 1 else exact if factor < 0 else exact / factor
        return micro.set(~micro.is_finite(), None).cast(pl.Int64, strict=False)
    whole = column.cast(pl.Int64)
    if factor > 1:
        return whole // int(factor)
    return whole if factor < 0 else whole * round(1 / factor)


def _iso(column: pl.Series) -> pl.Series:
    """ISO 8601, with a zone where at least one value has one."""
    text = column.str.strip_chars().str.replace(" ", "T", literal=True)
    zoned = text.str.contains(r"(Z|[+-]\d{2}:?\d{2})$").fill_null(value=False)
    if zoned.any():
        utc = text.str.replace(r"Z$", "+00:00")
        filled = pl.select(pl.when(zoned).then(utc).otherwise(utc + "+00:00")).to_series()
        return _parsed(filled, "%z").dt.convert_time_zone("UTC")
    return _parsed(text, "")


def _parsed(text: pl.Series, zone: str) -> pl.Series:
    dtype = pl.Datetime("us", "UTC") if zone else pl.Datetime("us")
    patterns = [
        f"{day}{zone}"
        for day in (
            "%Y-%m-%dT%H:%M:%S%.f",
            "%Y-%m-%dT%H:%M",
            "%Y-%m-%dT%H%M%S",
            "%Y-%m-%d",
            "%Y/%m/%dT%H:%M:%S",
            "%Y/%m/%d",
        )
    ]
    tried = [text.str.to_datetime(pattern, strict=False, time_unit="us").cast(dtype) for pattern in patterns]
    return pl.select(pl.coalesce(tried)).to_series()


def _no_time(column: pl.Series) -> InvalidInput:
    shown = column.drop_nulls().head(1).to_list()
    return InvalidInput(
        "alone.no_time",
        f"column {column.name!r} ({column.dtype}) does not hold times" + (f", such as {shown[0]!r}" if shown else ""),
        remedy="Give times as timestamps, ISO text, or seconds since 1970; or name another column with --at.",
    )
