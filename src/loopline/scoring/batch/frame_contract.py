"""The contract between a table of rows and a model: what `Contract` asks of a request's rows, asked of a whole frame at once.

Types are those of columns here: a key may be whole numbers, a number may be a Boolean, CSV's text is read as what the model takes.
Columns that the model does not ask for are left out.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from loopline.errors import InvalidInput
from loopline.models.manifest import Deployment
from loopline.models.signature import Signature
from loopline.scoring.carried import carried_columns, carried_expressions
from loopline.scoring.treatment import LARGEST
from loopline.sources.times import read_times
from loopline.tables.casting import cast_each
from loopline.tables.schema import UTC_TIME
from loopline.tables.source import key_text

ROW, REASON = "_row", "_reason"

_KEYS = (pl.String, pl.Boolean, pl.Date, pl.Datetime)
_TEXT = (pl.String, pl.Categorical, pl.Enum, pl.Null)

# What a row's column breaks: a reason for each row, null where there is none.
_Read = tuple[pl.Series, pl.Series]


@dataclass(frozen=True)
class FrameContract:
    """Reads and checks frames for one deployment.

    `entities` are the columns that features are looked up by, `key_columns` those whose texts make up a key that has no column of
    its own. Times that name no zone are in `zone`. `text`: all columns are text. Where the deployment fills in, a missing key is
    the row's number and a missing time is `now`.
    """

    signature: Signature
    deployment: Deployment
    entities: Collection[str] = ()
    key_columns: tuple[str, ...] = ()
    zone: str | None = None
    text: bool = False
    now: datetime | None = None

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns that a row must have, with what each is: key, time, number, category, entity or other."""
        said = self.deployment
        found = {said.key: "key", said.at: "time"}
        for field in self.signature.fields:
            if field.given:
                found.setdefault(field.name, field.kind)
        for name in sorted(self.entities):
            found.setdefault(name, "entity")
        for name in sorted(carried_columns(said)):
            found.setdefault(name, "time" if name == said.target else "other")
        return found

    @property
    def wanted(self) -> frozenset[str]:
        """Every column that is read where it is there."""
        return frozenset({*self.columns, *self.key_columns, "_key"})

    def read(self, frame: pl.DataFrame, first: int) -> pl.DataFrame:
        """The rows as the engine takes them: key (String), time (UTC), numbers (Float64), categories (String), what is carried;
        `_row`, their number from `first`; and `_reason`, `code:column` of the first thing that is wrong with a row, else null.

        Raises `InvalidInput` (`batch.missing_column`, `source.time_without_zone`).
        """
        whole = self._with_key(frame, first)
        absent = [name for name in self.columns if name not in whole.columns]
        if absent:
            raise InvalidInput(
                "batch.missing_column",
                f"the rows have no column {', '.join(map(repr, absent[:8]))}",
                remedy=f"The model takes {', '.join(self.columns)}; rename the columns with a query.",
                columns=absent,
            )
        read = [self._read(whole[name], kind) for name, kind in self.columns.items()]
        made = pl.DataFrame([column for column, _ in read]).with_columns(carried_expressions(self.deployment))
        reasons = made.select(pl.coalesce(*(reason for _, reason in read)).alias(REASON))
        rows = pl.Series(ROW, np.arange(first, first + frame.height, dtype=np.uint64))
        return made.with_columns(rows, reasons[REASON])

    def _with_key(self, frame: pl.DataFrame, first: int) -> pl.DataFrame:
        key, at = self.deployment.key, self.deployment.at
        made = frame
        if key not in frame.columns:
            if self.key_columns and set(self.key_columns) <= set(frame.columns):
                made = made.with_columns(key_text(self.key_columns).alias(key))
            elif "_key" in frame.columns:
                made = made.with_columns(pl.col("_key").alias(key))
            elif self.deployment.fills:
                numbers = pl.Series(key, np.arange(first, first + frame.height)).cast(pl.String)
                made = made.with_columns(numbers)
        if at not in frame.columns and self.deployment.fills:
            made = made.with_columns(pl.lit(self.now, UTC_TIME).alias(at))
        return made

    def _read(self, column: pl.Series, kind: str) -> _Read:
        if kind == "time":
            return _time(column, self.zone)
        if kind == "number":
            return _number(column, text=self.text)
        return _READERS[kind](column)


def first_refused(rows: pl.DataFrame, key: str) -> InvalidInput | None:
    """The error for the first row that has a reason; None where none has."""
    bad = rows.filter(pl.col(REASON).is_not_null()).head(1)
    if bad.is_empty():
        return None
    reason, number = bad[REASON][0], bad[ROW][0]
    code, _, column = reason.partition(":")
    return InvalidInput(
        code,
        f"row {number}: {_SAYS[code].format(column=repr(column))}",
        remedy=f"Mend row {number} of the input, counted from 0, or set such rows aside with --policy quarantine.",
        row=number,
        column=column or key,
    )


_SAYS = {
    "scoring.bad_key": "{column} must be text, or a whole number, that is not empty",
    "scoring.bad_time": "{column} is not a time with a zone",
    "scoring.not_a_number": "{column} must be a number or null",
    "scoring.not_finite": "{column} is infinite, or too large for a 32-bit float",
    "scoring.not_a_category": "{column} must be text or null",
    "scoring.not_an_entity": "{column} must be text, a whole number or null",
    "scoring.duplicate_key": "an earlier row has the same {column} and time",
}


def _reason(bad: pl.Series, code: str, column: str) -> pl.Series:
    told = pl.Series([f"{code}:{column}"], dtype=pl.String)
    return pl.select(pl.when(bad).then(told)).to_series() if bad.any() else _none(len(bad))


def _none(height: int) -> pl.Series:
    return pl.repeat(None, height, dtype=pl.String, eager=True)


def _all(column: pl.Series, dtype: pl.DataType, code: str) -> _Read:
    """Every value is of another type than can be taken."""
    bad = column.is_not_null()
    return pl.Series(column.name, [None] * len(column), dtype=dtype), _reason(bad, code, column.name)


def _key(column: pl.Series) -> _Read:
    if column.dtype not in _KEYS and not column.dtype.is_integer():
        keys: pl.Series = pl.repeat(None, len(column), dtype=pl.String, eager=True).alias(column.name)
    else:
        keys = column.to_frame().select(key_text((column.name,)).alias(column.name)).to_series()
    return keys, _reason(keys.is_null() | (keys == "").fill_null(value=False), "scoring.bad_key", column.name)


def _time(column: pl.Series, zone: str | None) -> _Read:
    if column.dtype.is_integer():
        times = column.cast(pl.Int64).cast(UTC_TIME)
    elif column.dtype in (pl.String, pl.Date) or isinstance(column.dtype, pl.Datetime):
        naive = isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None
        times = _none(len(column)).cast(UTC_TIME) if naive and zone is None else _moments(column, zone)
    else:
        times = _none(len(column)).cast(UTC_TIME)
    return times.alias(column.name), _reason(times.is_null(), "scoring.bad_time", column.name)


def _moments(column: pl.Series, zone: str | None) -> pl.Series:
    # Without a zone of its own and without one that was said a text is no time: it is read in UTC, and then left out.
    read = read_times(column.to_frame(), [column.name], zone or "UTC").to_series()
    times = cast_each(read, UTC_TIME)
    if zone is None and column.dtype == pl.String:
        named = column.str.contains(r"([Zz]|[+-]\d{2}(:?\d{2})?)\s*$").fill_null(value=False) & column.str.contains(":")
        return times.zip_with(named, _none(len(column)).cast(UTC_TIME))
    return times if zone is not None or column.dtype != pl.Date else _none(len(column)).cast(UTC_TIME)


def _number(column: pl.Series, *, text: bool) -> _Read:
    readable = (
        column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null) or (text and column.dtype == pl.String)
    )
    if not readable:
        return _all(column, pl.Float64(), "scoring.not_a_number")
    if text and column.dtype == pl.String:  # an empty text in quotes is as empty as one without
        column = column.set((column.str.strip_chars() == "").fill_null(value=False), None)
    numbers = cast_each(column, pl.Float64()) if text else column.cast(pl.Float64())
    wrong = numbers.is_null() & column.is_not_null()
    infinite = (numbers.abs() > LARGEST).fill_null(value=False) & numbers.is_not_nan().fill_null(value=True)
    not_a_number, not_finite = (
        _reason(wrong, "scoring.not_a_number", column.name),
        _reason(infinite, "scoring.not_finite", column.name),
    )
    return numbers, not_a_number.zip_with(not_a_number.is_not_null(), not_finite)


def _category(column: pl.Series) -> _Read:
    if column.dtype not in _TEXT:
        return _all(column, pl.String(), "scoring.not_a_category")
    return column.cast(pl.String), _none(len(column))


def _entity(column: pl.Series) -> _Read:
    if column.dtype not in _TEXT and not column.dtype.is_integer():
        return _all(column, pl.String(), "scoring.not_an_entity")
    return column.cast(pl.String), _none(len(column))


def _other(column: pl.Series) -> _Read:
    return column.cast(pl.String) if column.dtype in _TEXT else column, _none(len(column))


_READERS: Mapping[str, Callable[[pl.Series], _Read]] = {
    "key": _key,
    "category": _category,
    "entity": _entity,
    "other": _other,
}


def duplicate_reasons(rows: pl.DataFrame, duplicates: Sequence[int], key: str) -> pl.DataFrame:
    """`rows`, where those with the numbers `duplicates` have that reason, unless they have one."""
    again = pl.col(ROW).is_in(pl.Series(duplicates, dtype=pl.UInt64).implode())
    told = pl.when(again).then(pl.lit(f"scoring.duplicate_key:{key}"))
    return rows.with_columns(pl.coalesce(REASON, told).alias(REASON))
