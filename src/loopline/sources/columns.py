"""Columns of Python values, as drivers and JSON give them, with dtypes that do not depend on a sample."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

_LARGEST = 2**63
_NUMBERS: Mapping[type, pl.DataType] = {bool: pl.Boolean(), int: pl.Int64(), float: pl.Float64()}


def column_of(name: str, values: Sequence[Any]) -> pl.Series:
    """A column of Python values, its dtype by all of them: numbers are Float64 where any is, what is mixed, or more than Int64
    holds, is text; lists and mappings are JSON text. Only null is Null.
    """
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pl.Series(name, values, dtype=pl.Null())
    if any(isinstance(value, int) and abs(value) >= _LARGEST for value in values):
        kinds = {int, str}
    if kinds <= {int, float, Decimal} and kinds != {int}:
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64())
    if len(kinds) == 1 and (only := kinds.pop()) in {bool, int, str, bytes, datetime, date}:
        return _times(name, values) if only is datetime else pl.Series(name, values, dtype=_NUMBERS.get(only))
    return pl.Series(name, [None if value is None else _text(value) for value in values], dtype=pl.String())


def _times(name: str, values: Sequence[datetime | None]) -> pl.Series:
    naive = {value.tzinfo is None for value in values if value is not None}
    if naive == {True}:
        return pl.Series(name, values, dtype=pl.Datetime("us"))
    if naive == {False}:
        utc = [None if value is None else value.astimezone(ZoneInfo("UTC")) for value in values]
        return pl.Series(name, utc, dtype=pl.Datetime("us", "UTC"))
    return pl.Series(name, [None if value is None else value.isoformat() for value in values], dtype=pl.String())


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (uuid.UUID, clock_time, timedelta, int, float, Decimal)):
        return str(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return msgspec.json.encode(value, enc_hook=str).decode()
