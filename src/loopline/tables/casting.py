"""Values brought to another dtype, one by one: null where a value cannot be."""

import polars as pl

_MOMENT = r"^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2})?([.,]\d+)?(?: ?(Z|z|[+-]\d{2}(?::?\d{2})?))?$"
_DAY = r"^(\d{4}-\d{2}-\d{2})$"
_TRUE, _FALSE = ("true", "t", "yes", "1"), ("false", "f", "no", "0")


def cast_each(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """`column` as `dtype`, null where a value cannot be that or would change: text is read, 2.0 is 2, 2.5 is no Int64, and a
    moment without a zone is none.
    """
    if column.dtype == dtype:
        return column
    if isinstance(column.dtype, pl.Null):
        return column.cast(dtype)
    if column.dtype == pl.String():
        return _from_text(column, dtype)
    if dtype == pl.String():
        return _to_text(column)
    if not _related(column.dtype, dtype):
        return pl.Series(column.name, [None] * len(column), dtype=dtype)
    cast = column.cast(dtype, strict=False)
    return cast if dtype.is_temporal() else cast.set(~_same(column, cast).fill_null(value=True), None)


def moments(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """ISO 8601 text as moments: those that name their offset (Datetime[us, UTC]), and those that do not (Datetime[us]); a date
    alone is its midnight. Each is null where the other is not, and both are where the text is no moment.
    """
    text = column.to_frame("text").select(pl.col("text").str.strip_chars().str.replace(_DAY, "${1}T00:00"))
    parts = text.select(
        pl.col("text").str.replace(_MOMENT, "${1}T${2}").alias("minute"),
        *(pl.col("text").str.extract(_MOMENT, group).alias(name) for group, name in _GROUPS),
    )
    clock = pl.concat_str(
        "minute", pl.col("second").fill_null(":00"), pl.col("fraction").str.replace(",", ".").fill_null("")
    )
    read = parts.select(
        naive=clock.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False),
        shift=_offset(pl.col("offset")),
        told=pl.col("offset").is_not_null(),
    )
    aware = (pl.col("naive") - pl.col("shift")).dt.replace_time_zone("UTC")
    found = read.select(aware=pl.when("told").then(aware), naive=pl.when(~pl.col("told")).then("naive"))
    return found["aware"].alias(column.name), found["naive"].alias(column.name)


_GROUPS = ((3, "second"), (4, "fraction"), (5, "offset"))


def _offset(text: pl.Expr) -> pl.Expr:
    digits = text.str.replace_all(r"[Zz:]", "")
    sign = pl.when(digits.str.starts_with("-")).then(-1).otherwise(1)
    hours = digits.str.slice(1, 2).cast(pl.Int64, strict=False).fill_null(0)
    minutes = digits.str.slice(3, 2).cast(pl.Int64, strict=False).fill_null(0)
    return pl.duration(minutes=sign * (hours * 60 + minutes))


def _from_text(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    if isinstance(dtype, pl.Datetime):
        aware, naive = moments(column)
        chosen = naive if dtype.time_zone is None else aware
        return chosen.cast(dtype)
    text = column.str.strip_chars()
    if dtype == pl.Boolean():
        small = text.str.to_lowercase()
        said = small.is_in(_TRUE + _FALSE)
        return small.is_in(_TRUE).set(~said.fill_null(value=False), None).rename(column.name)
    if dtype == pl.Date():
        return text.str.to_date("%Y-%m-%d", strict=False)
    if dtype.is_integer():
        return text.str.replace(r"\.0*$", "").cast(dtype, strict=False)
    if dtype.is_numeric():
        return text.cast(dtype, strict=False)
    return pl.Series(column.name, [None] * len(column), dtype=dtype)


def _to_text(column: pl.Series) -> pl.Series:
    if column.dtype.is_nested() or column.dtype == pl.Binary():
        return pl.Series(column.name, [None] * len(column), dtype=pl.String())
    return column.cast(pl.String())


def _related(found: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether a value of one can mean the same as the other: numbers, truth as 0 and 1, and moments of one kind."""
    if isinstance(found, pl.Datetime) and isinstance(wanted, pl.Datetime):
        return (found.time_zone is None) == (wanted.time_zone is None)
    amounts = all(dtype.is_numeric() or dtype == pl.Boolean() for dtype in (found, wanted))
    return amounts or (found.is_nested() and wanted.is_nested())


def _same(before: pl.Series, after: pl.Series) -> pl.Series:
    """Whether each value is what it was; NaN stays NaN."""
    if before.dtype.is_nested():
        return before.is_not_null()
    kept = after.cast(before.dtype, strict=False) == before
    return kept | before.is_nan() if before.dtype.is_float() and after.dtype.is_float() else kept
