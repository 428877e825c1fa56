"""A source's frame brought to its table's columns and dtypes, or refused whole."""

from collections.abc import Mapping

import polars as pl

from loopline.errors import InvalidInput
from loopline.tables.dtypes import instance
from loopline.tables.schema import UTC_TIME, TableSchema, refuse_missing, refuse_unknown, wrong_dtype
from loopline.tables.source import SourceSpec

_SIGNED = (pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64())
_EXACT_IN_FLOAT = (pl.Int8(), pl.Int16(), pl.Int32(), pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.Float32())
_WIDER: Mapping[pl.DataType, pl.DataType] = {pl.UInt8(): pl.Int16(), pl.UInt16(): pl.Int32(), pl.UInt32(): pl.Int64()}
_TEXT = (pl.Categorical, pl.Enum)


def payload_columns(frame: pl.DataFrame, spec: SourceSpec, present: TableSchema | None) -> dict[str, pl.DataType]:
    """The payload columns that rows of `spec` have: as declared, else as the table has them, else as in `frame`.

    Raises `InvalidInput` (`table.missing_column`, `table.unsupported_dtype`, `ingest.time_without_zone`).
    """
    if spec.columns is not None:
        return dict(spec.columns)
    if present is not None and present.columns:
        return dict(present.columns)
    if frame.is_empty():
        return {}
    refuse_missing([name for name in (*spec.named_columns, *spec.guarded_columns) if name not in frame.columns])
    return {name: kept_as(name, instance(dtype)) for name, dtype in frame.schema.items() if name != spec.tombstone}


def conform(frame: pl.DataFrame, columns: Mapping[str, pl.DataType], spec: SourceSpec) -> pl.DataFrame:
    """`frame` with exactly `columns` and the tombstone, cast where that loses nothing (to a wider number, a category to text, a
    time to UTC). A frame without rows may have any columns.

    Raises `InvalidInput` (`table.unknown_column`, `table.missing_column`, `table.wrong_dtype`, `ingest.time_without_zone`).
    """
    expected = {**columns, **({spec.tombstone: pl.Boolean()} if spec.tombstone else {})}
    if frame.is_empty():
        return pl.DataFrame(schema=expected)
    refuse_unknown(set(frame.columns) - set(expected), expected)
    refuse_missing([name for name in expected if name not in frame.columns])
    return frame.select(_cast(frame[name], dtype) for name, dtype in expected.items())


def _cast(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    if column.dtype == dtype:
        return column
    if dtype == UTC_TIME:
        return _to_utc(column)
    if not is_safe(column.dtype, dtype):
        raise wrong_dtype(column.name, column.dtype, dtype)
    return column.cast(dtype)


def is_safe(found: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether any value of the one dtype is a value of the other."""
    if isinstance(found, pl.Null):
        return True
    if wanted in _SIGNED:
        widened = _WIDER.get(found, found)
        return widened in _SIGNED and _SIGNED.index(widened) <= _SIGNED.index(wanted)
    if wanted == pl.Float64():
        return found in _EXACT_IN_FLOAT
    return wanted == pl.String() and isinstance(found, _TEXT)


def _to_utc(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Null):
        return column.cast(UTC_TIME)
    if not isinstance(column.dtype, pl.Datetime):
        raise wrong_dtype(column.name, column.dtype, UTC_TIME)
    _refuse_naive(column.name, column.dtype)
    in_micros = column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if (
        column.dtype.time_unit == "ns"
        and not (in_micros.dt.cast_time_unit("ns").eq_missing(column.dt.convert_time_zone("UTC"))).all()
    ):
        raise wrong_dtype(column.name, column.dtype, UTC_TIME)
    return in_micros


def kept_as(name: str, dtype: pl.DataType) -> pl.DataType:
    """The dtype in which a table keeps a column that comes as `dtype`. Raises as `payload_columns`."""
    if isinstance(dtype, pl.Datetime):
        _refuse_naive(name, dtype)
        return UTC_TIME
    if isinstance(dtype, pl.Null):
        raise InvalidInput(
            "table.unsupported_dtype",
            f"column {name!r} is null in every row of the first frame, so its dtype is not known",
            remedy="Declare the source's columns, or cast it to a dtype.",
            column=name,
        )
    return pl.String() if isinstance(dtype, _TEXT) else _WIDER.get(dtype, dtype)


def _refuse_naive(name: str, dtype: pl.Datetime) -> None:
    if dtype.time_zone is None:
        raise InvalidInput(
            "ingest.time_without_zone",
            f"column {name!r} holds times without a zone",
            remedy=f'Say which zone they are in: pl.col("{name}").dt.replace_time_zone("America/New_York").',
            column=name,
        )
