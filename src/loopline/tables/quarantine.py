"""Rows that were refused, kept with the reason."""

import polars as pl

from loopline.tables.checks import PLACE, REASON
from loopline.tables.schema import UTC_TIME, TableSchema
from loopline.tables.tables import Tables
from loopline.values import Window

SUFFIX = ".quarantine"
_COLUMNS = {REASON: pl.String(), "_window_start": UTC_TIME, "_window_end": UTC_TIME, "row": pl.String()}
_SHOWN = ("_key", "_event_time", *_COLUMNS)


def schema(*, personal: bool) -> TableSchema:
    """The quarantine's schema: `_reason`, the window, and the `row` as JSON text, so that changes of the source's columns never
    break it. `personal` where the source has personal columns.
    """
    return TableSchema(_COLUMNS, ("row",) if personal else ())


def quarantined_rows(bad: pl.DataFrame, original: pl.DataFrame, window: Window) -> pl.DataFrame:
    """The quarantine's rows for `bad` rows: known at the window's end; a missing key is "", a missing event time that end.

    `row` is what the source gave: the row of `original` at the bad row's place.
    """
    given = original[bad[PLACE]] if bad.height else original.clear()
    return bad.select(
        pl.col("_key").fill_null(""),
        pl.col("_event_time").fill_null(window.end),
        pl.lit(window.end, UTC_TIME).alias("_known_at"),
        pl.lit(value=False).alias("_tombstone"),
        REASON,
        pl.lit(window.start, UTC_TIME).alias("_window_start"),
        pl.lit(window.end, UTC_TIME).alias("_window_end"),
        pl.struct(_for_json(column) for column in given).struct.json_encode().alias("row"),
    )


def quarantined(tables: Tables, name: str, *, window: Window | None = None, reason: str | None = None) -> pl.DataFrame:
    """The quarantined rows of the table `name`: `_key`, `_event_time`, `_reason`, `_window_start`, `_window_end`, `row` (JSON).

    Only those of ingestion windows that end inside `window`, and with `reason`, where given. None are none: no error.
    """
    if not tables.exists(name + SUFFIX):
        return schema(personal=False).empty().select(_SHOWN)
    return tables.open(name + SUFFIX).read(
        known_after=window.start if window else None,
        known_until=window.end if window else None,
        where=None if reason is None else pl.col(REASON) == reason,
        columns=_SHOWN,
    )


def _for_json(column: pl.Series) -> pl.Series:
    # JSON has no NaN and no infinity, and would show null for them: what was wrong with the row would be gone.
    if column.dtype.is_float() and not column.is_finite().fill_null(value=True).all():
        return column.cast(pl.String)
    return column.bin.encode("base64") if column.dtype == pl.Binary else column
