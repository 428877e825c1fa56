"""Times as files and databases hold them, brought to UTC."""

from collections.abc import Iterable

import polars as pl

from loopline.errors import InvalidInput
from loopline.tables.casting import moments
from loopline.tables.schema import UTC_TIME

_HOUR = pl.duration(hours=1)


def check_zone(zone: str | None) -> None:
    """Raise `InvalidInput` "source.unknown_zone" for a name that is no time zone."""
    if zone is None:
        return
    try:
        pl.select(pl.lit("2024-01-01T00:00:00").str.to_datetime().dt.replace_time_zone(zone))
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(
            "source.unknown_zone", f"{zone!r} is no time zone", remedy='Write e.g. zone="Europe/Berlin" or zone="UTC".'
        ) from error


def read_times(rows: pl.DataFrame, columns: Iterable[str], zone: str | None) -> pl.DataFrame:
    """`rows` with text and dates in `columns`, and every Datetime column, as moments in UTC (Datetime[us, UTC]).

    What names no zone is in `zone`: an hour that comes twice is the later one, since a row must not be known too early, and a
    time that a clock change leaves out is an hour later. Where some text is no moment the column stays text, its moments
    written in UTC, so that ingestion can quarantine those rows and show what they say.

    Raises `InvalidInput` "source.time_without_zone" where a zone is needed and none is declared.
    """
    wanted = set(columns)
    return rows.with_columns(
        _moment(rows[name], zone)
        for name, dtype in rows.schema.items()
        if name in wanted or dtype.base_type() == pl.Datetime
    )


def _moment(column: pl.Series, zone: str | None) -> pl.Series:
    if column.dtype == pl.String():
        return _from_text(column, zone)
    if column.dtype == pl.Date():
        return _placed(column.cast(pl.Datetime("us")), zone)
    if not isinstance(column.dtype, pl.Datetime):
        return column.cast(UTC_TIME) if isinstance(column.dtype, pl.Null) else column
    if column.dtype.time_zone is None:
        return _placed(column.dt.cast_time_unit("us"), zone)
    return column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def _from_text(column: pl.Series, zone: str | None) -> pl.Series:
    aware, naive = moments(column)
    placed = naive.cast(UTC_TIME) if naive.null_count() == len(naive) else _placed(naive, zone)
    found = aware.zip_with(aware.is_not_null(), placed)
    if found.null_count() == column.null_count():
        return found
    written = found.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return written.zip_with(found.is_not_null(), column)


def _placed(naive: pl.Series, zone: str | None) -> pl.Series:
    if zone is None:
        raise InvalidInput(
            "source.time_without_zone",
            f"column {naive.name!r} holds times without a zone",
            remedy='Say which one they are in, e.g. zone="Europe/Berlin"; zone="UTC" where they are in UTC.',
            column=naive.name,
        )
    time = pl.col(naive.name)
    there = time.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    after_gap = (time + _HOUR).dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    placed = pl.coalesce(there, after_gap).dt.convert_time_zone("UTC")
    return naive.to_frame().select(placed.alias(naive.name)).to_series()
