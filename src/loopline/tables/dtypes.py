"""Polars dtypes and Delta types, one to one."""

import re
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass

from loopline.errors import InvalidInput

_PRIMITIVES: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "byte": pl.Int8(),
    "short": pl.Int16(),
    "integer": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "string": pl.String(),
    "binary": pl.Binary(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"),
}
_NAMES = {dtype: name for name, dtype in _PRIMITIVES.items()}
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")


def instance(dtype: DataTypeClass | pl.DataType) -> pl.DataType:
    """`pl.Int64()` for `pl.Int64`; an instance passes through."""
    return dtype() if isinstance(dtype, DataTypeClass) else dtype


def delta_type(column: str, dtype: pl.DataType) -> Any:
    """The Delta type of `dtype`: a name, or a dict for lists and structs. Raises `InvalidInput` (`table.unsupported_dtype`)."""
    if dtype in _NAMES:
        return _NAMES[dtype]
    if isinstance(dtype, pl.Decimal):
        return f"decimal({dtype.precision},{dtype.scale})"
    if isinstance(dtype, pl.List):
        element = delta_type(column, instance(dtype.inner))
        return {"type": "array", "elementType": element, "containsNull": True}
    if isinstance(dtype, pl.Struct):
        return {"type": "struct", "fields": [_field(column, one) for one in dtype.fields]}
    raise _unsupported(column, dtype)


def polars_dtype(column: str, kind: Any) -> pl.DataType:
    """The Polars dtype of a Delta type. Raises `InvalidInput` (`table.unsupported_dtype`)."""
    if isinstance(kind, str):
        return _polars_primitive(column, kind)
    if kind.get("type") == "array":
        return pl.List(polars_dtype(column, kind["elementType"]))
    if kind.get("type") == "struct":
        return pl.Struct({one["name"]: polars_dtype(column, one["type"]) for one in kind["fields"]})
    raise _unsupported(column, kind)


def _polars_primitive(column: str, kind: str) -> pl.DataType:
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind]
    if match := _DECIMAL.fullmatch(kind):
        return pl.Decimal(int(match[1]), int(match[2]))
    raise _unsupported(column, kind)


def _field(column: str, one: pl.Field) -> dict[str, Any]:
    return {"name": one.name, "type": delta_type(column, instance(one.dtype)), "nullable": True, "metadata": {}}


def _unsupported(column: str, kind: Any) -> InvalidInput:
    return InvalidInput(
        "table.unsupported_dtype",
        f"column {column!r} is {kind}, which a Delta table cannot keep",
        remedy="Use Boolean, Int8 to Int64, Float32, Float64, String, Binary, Date, Decimal, Datetime in microseconds with zone "
        "UTC, or lists and structs of these. Cast categories to String, unsigned numbers to a wider signed one, and say "
        'which zone a naive Datetime is in: .dt.replace_time_zone("...").dt.convert_time_zone("UTC").',
        column=column,
    )
