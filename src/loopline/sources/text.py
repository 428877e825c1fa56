"""Columns of text, as CSV has them, and what their values are. Decided by every value, so that no sample misleads."""

from collections.abc import Iterable, Mapping
from typing import Literal

import polars as pl

from loopline.tables.casting import cast_each, moments

Kind = Literal["nothing", "truth", "whole", "number", "day", "moment", "text"]

_DTYPES: Mapping[Kind, pl.DataType] = {
    "nothing": pl.Null(),
    "truth": pl.Boolean(),
    "whole": pl.Int64(),
    "number": pl.Float64(),
    "day": pl.Date(),
    "text": pl.String(),
}
# 007 is a name, and so is what Int64 cannot hold.
_WHOLE = r"^[+-]?(0|[1-9]\d{0,17})$"
_NUMBER = r"^[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|^[+-]?(inf|Inf|NaN|nan)$"
_TRUTH = r"^(true|false|True|False|TRUE|FALSE)$"
_DAY = r"^\d{4}-\d{2}-\d{2}$"


def kinds_of(rows: pl.DataFrame) -> dict[str, Kind]:
    """What each column (String) of `rows` holds, by all of its values; one that has none holds "nothing"."""
    return {name: _kind(rows[name]) for name in rows.columns}


def joined(kinds: Iterable[Mapping[str, Kind]]) -> dict[str, Kind]:
    """What columns hold that hold this here and that there."""
    found: dict[str, Kind] = {}
    for one in kinds:
        for name, kind in one.items():
            found[name] = _wider(found.get(name, "nothing"), kind)
    return found


def as_kinds(rows: pl.DataFrame, kinds: Mapping[str, Kind], expected: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The columns of text as what they are expected to be, where every value can be; else as what they hold.

    Moments are left as text for `read_times`, which knows the zone.
    """
    return rows.with_columns(_read(rows[name], kinds[name], expected.get(name)) for name in rows.columns)


def _read(column: pl.Series, kind: Kind, expected: pl.DataType | None) -> pl.Series:
    if expected is not None and not isinstance(expected, pl.Datetime):
        cast = cast_each(column, expected)
        if cast.null_count() == column.null_count():
            return cast
    return column if kind == "moment" else cast_each(column, _DTYPES[kind])


def _kind(column: pl.Series) -> Kind:
    values = column.drop_nulls().unique()
    if values.is_empty():
        return "nothing"
    patterns: list[tuple[str, Kind]] = [(_TRUTH, "truth"), (_WHOLE, "whole"), (_NUMBER, "number"), (_DAY, "day")]
    for pattern, kind in patterns:
        if values.str.contains(pattern).all():
            return kind
    return "moment" if values.str.contains(r"^\d{4}-\d{2}-\d{2}[T ]").all() and _all_moments(values) else "text"


def _all_moments(values: pl.Series) -> bool:
    aware, naive = moments(values)
    return 0 in (aware.null_count(), naive.null_count())


def _wider(one: Kind, other: Kind) -> Kind:
    pair = {one, other} - {"nothing"}
    if len(pair) < 2:  # noqa: PLR2004 - one kind, or none
        return pair.pop() if pair else "nothing"
    if pair == {"whole", "number"}:
        return "number"
    return "moment" if pair == {"day", "moment"} else "text"
