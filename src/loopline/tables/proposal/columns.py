"""The columns of files that nobody has described, typed: how each is read, and what it is like."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec
import polars as pl

from loopline.tables.proposal.extract import Extract
from loopline.tables.proposal.facts import ColumnFacts, facts_of
from loopline.tables.proposal.faults import column_faults, row_faults, sentinels
from loopline.tables.proposal.finding import Finding
from loopline.tables.proposal.infer import infer
from loopline.tables.proposal.personal import words
from loopline.tables.proposal.reading import Kind, Reading, Step, cast

_TIME_WORDS = {"ts", "timestamp", "time", "epoch", "date", "at", "created", "updated", "utc", "unixtime", "ms"}
_EPOCH_UNITS = ((1e9, 4.1e9, 1_000_000), (1e12, 4.1e12, 1_000), (1e15, 4.1e15, 1))
_LARGE = 2**63


@dataclass(frozen=True)
class Columns:
    """`frame` holds the rows looked at with the proposed types, under the file's own names."""

    frame: pl.DataFrame
    readings: dict[str, Reading]
    facts: dict[str, ColumnFacts]
    findings: list[Finding]


def read_columns(extract: Extract, now: datetime) -> Columns:
    """Read every column as what it is. `now` (UTC) tells which times are in the future."""
    raw = extract.frame
    comma = extract.dialect is not None and extract.dialect.separator == ";"
    readings: dict[str, Reading] = {}
    findings = list(extract.findings)
    typed = []
    facts = {}
    for name in raw.columns:
        reading, found = reading_of(raw[name], comma=comma)
        reading = _from_files(reading, extract.dtypes.get(name))
        column = raw[name].to_frame().select(reading.expression()).to_series()
        stand_ins = sentinels(column) if reading.kind in {"whole", "number"} else []
        before, step = column, Step("replace", (stand_ins, None))
        if stand_ins:
            reading = Reading(name, reading.kind, tuple((*way, step) for way in reading.ways))
            column = step.on(pl.col(name)).alias(name).pipe(column.to_frame().select).to_series()
        readings[name], facts[name] = reading, facts_of(raw[name], column, reading)
        found += _unread(raw[name], before, found)
        if facts[name].personal:
            found = [_without_examples(finding) for finding in found]
        findings += [*found, *column_faults(before, facts[name], reading, stand_ins, now)]
        typed.append(column)
    frame = pl.DataFrame(typed)
    return Columns(frame, readings, facts, [*_whole(extract), *findings, *row_faults(frame, raw)])


def _from_files(reading: Reading, dtype: pl.DataType | None) -> Reading:
    """The reading of a column as the files have it, where it was made plain before it was looked at."""
    if not isinstance(dtype, (pl.Categorical, pl.Enum, pl.Decimal, pl.Float32)):
        return reading
    first = cast("text" if isinstance(dtype, (pl.Categorical, pl.Enum)) else "number")
    return Reading(reading.name, reading.kind, tuple((first, *way) for way in reading.ways))


def _without_examples(finding: Finding) -> Finding:
    """Without the values that a message shows."""
    return msgspec.structs.replace(finding, message=f"{re.split(', such as|: .*', finding.message)[0].rstrip('.')}.")


def _unread(raw: pl.Series, column: pl.Series, found: list[Finding]) -> list[Finding]:
    """Values that became null though nothing told of it: rare ones among very many."""
    told = sum(finding.rows or 0 for finding in found if finding.code in {"null-words", "blank", "mixed-types"})
    lost = column.null_count() - raw.null_count() - told
    if column.dtype == pl.String or lost <= 0 or column.null_count() == len(column):
        return []
    example = raw.filter(column.is_null() & raw.is_not_null())[0]
    message = f"{lost:,} values cannot be read as the others, such as {example!r}."
    return [Finding(level="warning", code="mixed-types", column=raw.name, message=message, rows=lost, remedy="The proposed reading makes them null.")]  # fmt: skip


def _whole(extract: Extract) -> Iterator[Finding]:
    if not extract.frame.width:
        yield Finding(level="error", code="empty", message="there are no columns and no rows.")
    elif not extract.rows:
        yield Finding(level="error", code="no-rows", message="there are columns and no rows.")
    if extract.nested:
        told = ", ".join(extract.nested)
        yield Finding(level="note", code="nested", message=f"lists, records and other values that are not plain: {told}; the schema leaves them out.", remedy="Unpack what you need of them.")  # fmt: skip
    if extract.is_sample:
        message = f"{extract.frame.height:,} of {extract.rows:,} rows were looked at, chosen evenly."
        yield Finding(level="note", code="sampled", message=message, remedy="--rows 0 looks at all of them.")


def reading_of(column: pl.Series, *, comma: bool) -> tuple[Reading, list[Finding]]:
    """How a column of any type is read, and what was found on the way."""
    dtype, name = column.dtype, column.name
    if dtype == pl.String:
        inferred = infer(column, comma=comma)
        if inferred.reading.kind == "whole":
            read = column.to_frame().select(inferred.reading.expression()).to_series()
            return _perhaps_epoch(inferred.reading, read), inferred.findings
        return inferred.reading, inferred.findings
    if dtype == pl.Null or column.null_count() == len(column):
        return Reading(name, "nothing", ((cast("text"),),)), []
    if dtype.is_integer():
        fits = bool((column.drop_nulls().cast(pl.Int128).abs() < _LARGE).all())
        kind: Kind = "whole" if fits else "text"
        return _perhaps_epoch(Reading(name, kind, ((cast(kind),),) if dtype != pl.Int64 else ((),)), column), []
    if dtype.is_float() or isinstance(dtype, pl.Decimal):
        return Reading(name, "number", ((cast("number"),),) if dtype != pl.Float64 else ((),)), []
    return _other(column), []


def _other(column: pl.Series) -> Reading:
    dtype, name = column.dtype, column.name
    if dtype == pl.Boolean:
        return Reading(name, "boolean")
    if dtype == pl.Date:
        return Reading(name, "date")
    if isinstance(dtype, pl.Datetime):
        zone = Step("dt.replace_time_zone", ("UTC",)) if dtype.time_zone is None else Step("dt.convert_time_zone", ("UTC",))  # fmt: skip
        return Reading(name, "time", ((Step("dt.cast_time_unit", ("us",)), zone),))
    return Reading(name, "text", ((cast("text"),),))


def _perhaps_epoch(reading: Reading, column: pl.Series) -> Reading:
    """Seconds, or thousandths, since 1970, where name and size say so."""
    if not set(words(reading.name).split("_")) & _TIME_WORDS or column.null_count() == len(column):
        return reading
    low, high = float(column.min() or 0), float(column.max() or 0)  # type: ignore[arg-type]
    factor = next((factor for least, most, factor in _EPOCH_UNITS if least <= low and high <= most), None)
    if factor is None:
        return reading
    naive = Step("cast", (pl.Datetime("us"),), (), ('pl.Datetime("us")',))
    scale = (Step("mul", (factor,)),) if factor > 1 else ()
    way = (*reading.ways[0], *scale, naive, Step("dt.replace_time_zone", ("UTC",)))
    return Reading(reading.name, "time", (way,))
