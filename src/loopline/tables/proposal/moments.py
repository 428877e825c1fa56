"""Dates and times as text, in the formats that people write."""

from dataclasses import dataclass, field

import polars as pl

from loopline.tables.proposal.finding import Finding
from loopline.tables.proposal.reading import Kind, Step, cast

_MOSTLY = 0.95
_ENOUGH = 0.05
_UTC = (Step("dt.replace_time_zone", ("UTC",)),)

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%d.%m.%y", "%m/%d/%y", "%d/%m/%y", "%Y%m%d")  # fmt: skip
_CLOCKS = ("%H:%M:%S", "%H:%M", "%H:%M:%S%.f", "%I:%M:%S %p", "%I:%M %p")
_SHAPE = (
    r"^\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})|\d{1,2}[- ][A-Za-z]{3}[- ]\d{4}|[A-Z][a-z]{2} \d{1,2}, \d{4})"
    r"([T ]|$)|^(19|20)\d{6}$"
)
_ISO = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?"
_AWARE = _ISO + r"\s?(Z|[+-]\d{2}:?\d{2}|UTC)$"
_NAIVE = _ISO + "$"
_TWINS = {"%d/%m/%Y": "%m/%d/%Y", "%m/%d/%Y": "%d/%m/%Y", "%d-%m-%Y": "%m-%d-%Y", "%m-%d-%Y": "%d-%m-%Y", "%m/%d/%y": "%d/%m/%y", "%d/%m/%y": "%m/%d/%y"}  # fmt: skip
_TIME_WORDS = {"date", "day", "dt", "dob", "birth", "ymd", "on"}
_LOOKED = 2_000


@dataclass(frozen=True)
class Moments:
    """How texts become dates or times, the commonest way first."""

    kind: Kind
    ways: tuple[tuple[Step, ...], ...]
    findings: list[Finding] = field(default_factory=list)


def moment_ways(name: str, values: pl.Series, rows: pl.Series) -> Moments | None:
    """The ways in which distinct `values`, with the `rows` each stands in, are dates or times; None where they are none.

    A time without a zone is taken as UTC, and a finding says so.
    """
    values, rows = values.head(_LOOKED), rows.head(_LOOKED)
    total = int(rows.sum())
    shaped = values.str.contains(_SHAPE)
    if not total or float(rows.filter(shaped).sum()) / total < _MOSTLY:
        return None
    if bool(values.str.contains(r"^\d{8}$").all()) and not set(_words(name)) & _TIME_WORDS:
        return None
    found: list[tuple[_Way, pl.Series]] = []
    left = pl.Series("left", [True] * len(values))
    while len(found) < 4 and bool(left.any()):  # noqa: PLR2004 - more than four formats are none
        best = max(_candidates(values), key=lambda way: int(rows.filter(left & _parsed(values, way)).sum()))
        taken = left & _parsed(values, best)
        if int(rows.filter(taken).sum()) < _ENOUGH * total and not (found and bool(taken.any())):
            break
        found.append((best, taken))
        left &= ~taken
    if not found or float(rows.filter(~left).sum()) / total < _MOSTLY:
        return None
    return _moments(name, values, rows, found, left)


def _moments(
    name: str, values: pl.Series, rows: pl.Series, found: list[tuple["_Way", pl.Series]], left: pl.Series
) -> Moments:
    only_dates = all(way.is_date for way, _ in found)
    kind: Kind = "date" if only_dates else "time"
    findings = []
    if len(found) > 1:
        told = ", ".join(f"{values.filter(taken)[0]!r}" for _, taken in found)
        findings.append(Finding(level="warning", code="mixed-formats", column=name, message=f"times are written in {len(found)} ways: {told}.", rows=int(rows.filter(~found[0][1]).sum()), remedy="The proposed reading knows all of them; one way would be safer."))  # fmt: skip
    twins = [way for way, taken in found if _is_ambiguous(way, values.filter(taken))]
    if twins:
        first = "day" if twins[0].format.startswith("%d") else "month"
        message = f"it cannot be told whether day or month comes first, as in {values[0]!r}; {first} was taken."
        findings.append(Finding(level="warning", code="ambiguous-dates", column=name, message=message, remedy="Decide, and change the format in the proposed reading."))  # fmt: skip
    naive = [way for way, _ in found if not way.aware and not way.is_date]
    if naive:
        aware = len(naive) < len([way for way, _ in found if not way.is_date])
        message = "some times have a zone and others none" if aware else "times have no zone"
        findings.append(Finding(level="warning", code="no-zone", column=name, message=f"{message}; UTC was taken.", remedy='Decide: put the zone they are in for "UTC" in the proposed reading.'))  # fmt: skip
    if bool(left.any()):
        count = int(rows.filter(left).sum())
        message = f"{count:,} values are no time, such as {values.filter(left)[0]!r}."
        findings.append(Finding(level="warning", code="mixed-types", column=name, message=message, rows=count, remedy="The proposed reading makes them null."))  # fmt: skip
    return Moments(kind, tuple(way.steps(kind) for way, _ in found), findings)


@dataclass(frozen=True)
class _Way:
    """One format. `aware` ones name their zone."""

    format: str
    is_date: bool = False
    aware: bool = False

    def steps(self, kind: Kind) -> tuple[Step, ...]:
        """What reads the format."""
        quiet = ("strict", False)
        if self.is_date:
            date = (Step("str.to_date", (self.format,), (quiet,)),)
            return (
                date
                if kind == "date"
                else (*date, Step("cast", (pl.Datetime("us"),), (), ('pl.Datetime("us")',)), *_UTC)
            )
        if self.aware:
            mended = (Step("str.replace", (r"\s?(Z|UTC)$", "+00:00")), Step("str.replace", ("T", " "), (("literal", True),)), Step("str.replace", (r" (\d{2}:\d{2})([+-])", " ${1}:00${2}")))  # fmt: skip
            return (
                *mended,
                Step("str.to_datetime", ("%Y-%m-%d %H:%M:%S%.f%#z",), (quiet, ("time_unit", "us"))),
                cast("time"),
            )
        if self.format == "iso":
            filled = (Step("str.replace", ("T", " "), (("literal", True),)), Step("str.replace", (r" (\d{2}:\d{2})$", " ${1}:00")))  # fmt: skip
            return (*filled, Step("str.to_datetime", ("%Y-%m-%d %H:%M:%S%.f",), (quiet, ("time_unit", "us"))), *_UTC)
        return (Step("str.to_datetime", (self.format,), (quiet, ("time_unit", "us"))), *_UTC)


def _candidates(values: pl.Series) -> list[_Way]:
    dates = [_Way(one, is_date=True) for one in _DATES]
    if not bool(values.str.contains(":").any()):
        return dates
    clocks = [_Way(f"{date} {clock}") for date in _DATES for clock in _CLOCKS]
    return [_Way("aware", aware=True), _Way("iso"), *clocks, *dates]


def _parsed(values: pl.Series, way: _Way) -> pl.Series:
    expression = pl.col("value")
    for step in way.steps("date" if way.is_date else "time"):
        expression = step.on(expression)
    right = pl.lit(value=True)
    if way.format == "aware":
        right = pl.col("value").str.contains(_AWARE)
    elif way.format == "iso":
        right = pl.col("value").str.contains(_NAIVE)
    elif "%Y" in way.format:
        right = pl.col("value").str.contains(r"\d{4}")
    found = values.alias("value").to_frame().select((expression.is_not_null() & right).alias("left"))
    return found.to_series()


def _is_ambiguous(way: _Way, values: pl.Series) -> bool:
    for one, other in _TWINS.items():
        if way.format.startswith(one):
            swapped = _Way(way.format.replace(one, other), way.is_date)
            return bool(_parsed(values, swapped).all())
    return False


def _words(name: str) -> list[str]:
    spaced = "".join(letter if letter.isalnum() else " " for letter in name)
    return spaced.lower().split()
