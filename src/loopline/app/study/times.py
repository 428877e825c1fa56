"""Times as people write them, as microseconds since 1970 in UTC."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from loopline.errors import InvalidInput
from loopline.values import micros

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
    if column.dtype == pl.Date:
        return _days(column)
    if isinstance(column.dtype, pl.Datetime):
        return _moments(column)
    if column.dtype.is_numeric():
        return _numbers(column)
    if column.dtype == pl.String:
        return _texts(column)
    raise _no_time(column)


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


def _days(column: pl.Series) -> Times:
    at = column.cast(pl.Datetime("us")).dt.timestamp("us") + _NOON
    return Times(at, [f"{column.name} holds days: each is taken as its noon, UTC."])


def _moments(column: pl.Series) -> Times:
    zone = getattr(column.dtype, "time_zone", None)
    at = column.dt.timestamp("us") if zone is None else column.dt.convert_time_zone("UTC").dt.timestamp("us")
    if zone is not None:
        return Times(at, [])
    known = at.drop_nulls()
    if len(known) and bool((known % _DAY == 0).all()):
        return _days(column.cast(pl.Date))
    return Times(at, [f"{column.name} has no time zone: it is taken as UTC."])


def _numbers(column: pl.Series) -> Times:
    numbers = column.cast(pl.Float64, strict=False)
    middle = numbers.filter(numbers.is_finite()).median() if len(numbers) else None
    size = float(middle) if isinstance(middle, (int, float)) else 0.0
    for least, factor, unit in _UNITS:
        if size >= least:
            return Times(_scaled(column, factor), [f"{column.name} is taken as {unit} since 1970, UTC."])
    raise _no_time(column)


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


def _texts(column: pl.Series) -> Times:
    given = len(column) - column.null_count()
    for read in (
        _iso(column),
        *(column.str.to_datetime(pattern, strict=False, time_unit="us") for pattern in _FORMATS),
    ):
        if given and len(read) - read.null_count() >= _READ * given:
            found = _moments(read.alias(column.name))
            lost = given - (len(read) - read.null_count())
            told = [f"{lost:,} values of {column.name} are no times and are left out."] if lost else []
            return Times(found.micros, [*found.notices, *told])
    as_numbers = column.cast(pl.Float64, strict=False)
    if as_numbers.null_count() == column.null_count() and given:
        return _numbers(as_numbers)
    raise _no_time(column)


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
