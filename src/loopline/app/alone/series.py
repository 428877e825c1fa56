"""`loopline watch FILE --series NAME`: has a series of numbers moved for good, since when, by how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Literal

import msgspec
import numpy as np

from loopline.app.alone.series_file import Series, SeriesRequest, read_series
from loopline.app.report.figure import times
from loopline.errors import InvalidInput
from loopline.evidence.e_sr import log_threshold
from loopline.monitoring.change_watch import seed_of
from loopline.monitoring.moved import Moved, Way, sized, told
from loopline.monitoring.risk import CHANGE, YEAR
from loopline.monitoring.series import SeriesState, watch_series
from loopline.monitoring.usual import LEAST, Sums, carry_of
from loopline.storage.scratch import scratch_folder
from loopline.values import MICROSECOND, from_micros

VALUES_APART = 1000
"""Where nobody says otherwise, so many values lie between two false alarms, at least."""

_LEAST_APART = 10
_LONG = 20 * 3600 * 10**6
_MINUTE = 60 * 10**6


class Move(msgspec.Struct, frozen=True):
    """A move in a series, told when it was `seen`. `row` counts the values from 1; times are None where the file has none.

    Sizes are of all values up to the next move where the file has them, else of those that were there when it was seen.
    """

    way: Way
    of: Literal["level", "steps"]
    seen: datetime | None
    onset: datetime | None
    earliest: datetime | None
    latest: datetime | None
    row: int
    onset_row: int
    moved: Moved
    sentence: str


class Stretch(msgspec.Struct, frozen=True):
    """From one move to the next: values `first` to `last` (from 1), their mean and standard deviation."""

    first: int
    last: int
    mean: float
    spread: float


class SeriesAnswer(msgspec.Struct, frozen=True):
    """All that is said of a series. `found` counts the moves of this run; `moves` are all that are known, `evidence` is for the next, as a share of what it takes."""

    name: str
    column: str
    headline: str
    found: int
    values: int
    new: int
    timed: bool
    values_apart: float
    carry: float
    evidence: float
    moves: list[Move]
    stretches: list[Stretch]
    sentences: list[str]
    notices: list[str]


class SeriesRecord(msgspec.Struct, frozen=True):
    """What is kept between runs: how many values lie between two false alarms, what is known, until when values were counted, and the moves so far."""

    values_apart: float
    state: SeriesState = SeriesState()
    watermark: int | None = None
    moves: list[Moved] = []


@dataclass(frozen=True)
class WatchedSeries:
    """The answer, with the values for a picture, what is to be kept, and how many values a year has (0 without times)."""

    answer: SeriesAnswer
    series: Series
    record: SeriesRecord
    a_year: float


def watch_series_file(request: SeriesRequest, kept: SeriesRecord | None = None) -> WatchedSeries:
    """Watch the series of a file, from its first value, or on from what was `kept`: then only later values count.

    Raises as `read_series`, and `InvalidInput` for a budget that allows an alarm more often than every tenth value.
    """
    with scratch_folder() as scratch:
        series = read_series(request, scratch)
    a_year = _values_a_year(series)
    record = kept or SeriesRecord(_values_apart(request, a_year))
    first = 0 if record.watermark is None else int(np.searchsorted(series.at, record.watermark, side="right"))
    state, found = watch_series(
        record.state,
        series.values[first:].tolist(),
        series.at[first:].tolist(),
        threshold=record.values_apart,
        seed=seed_of(request.name, request.name, CHANGE + request.column),
    )
    counted = max([int(series.at[-1]), *([] if record.watermark is None else [record.watermark])])
    record = msgspec.structs.replace(record, state=state, watermark=counted, moves=[*record.moves, *found])
    return WatchedSeries(_answer(request, series, record, len(found), first), series, record, a_year)


def _values_apart(request: SeriesRequest, a_year: float) -> float:
    if request.false_pages_per_year is None:
        return max(float(VALUES_APART), a_year)
    apart = a_year / request.false_pages_per_year if request.false_pages_per_year > 0 else 0.0
    if apart < _LEAST_APART:
        raise InvalidInput(
            "alone.series_budget",
            f"{request.false_pages_per_year:g} false alarms a year of {a_year:,.0f} values",
            remedy=f"Allow fewer, at most one in {_LEAST_APART} values and above 0.",
        )
    return apart


def _values_a_year(series: Series) -> float:
    """By the middle distance of two values; 0 without times."""
    gaps = np.diff(series.at)
    middle = float(np.median(gaps[gaps > 0])) if series.timed and bool((gaps > 0).any()) else 0.0
    return YEAR / MICROSECOND / middle if middle else 0.0


def _answer(request: SeriesRequest, series: Series, record: SeriesRecord, found: int, first: int) -> SeriesAnswer:
    when = _when(series)
    moves, stretches = _moves(request, series, record.moves, when)
    state, apart = record.state, record.values_apart
    evidence = max(0.0, state.process.log_evidence / log_threshold(apart))
    new = len(series.values) - first
    return SeriesAnswer(
        name=request.name,
        column=request.column,
        headline=_headline(request, moves, found, state, new),
        found=found,
        values=len(series.values),
        new=new,
        timed=series.timed,
        values_apart=apart,
        carry=carry_of(state.sums, state.earlier),
        evidence=evidence,
        moves=moves,
        stretches=stretches,
        sentences=_sentences(moves, state, apart, evidence),
        notices=[*series.notices, *_goes_on(request, series, first, record)],
    )


def _goes_on(request: SeriesRequest, series: Series, first: int, record: SeriesRecord) -> list[str]:
    told = [f"{len(series.values):,} values; {len(series.values) - first:,} of them are new."]
    if request.false_pages_per_year is not None and record.state.seen > len(series.values) - first:
        told.append(
            "It goes on as it began: --false-pages-per-year counts at the first run. Use another --name to begin anew."
        )
    return told


def _moves(
    request: SeriesRequest, series: Series, found: Sequence[Moved], when: "_when"
) -> tuple[list[Move], list[Stretch]]:
    """What was found, measured by all values of the file up to the next move; and the stretches between."""
    places = [0, *(int(np.searchsorted(series.at, one.onset)) for one in found), len(series.values)]
    parts = [series.values[start:end].tolist() for start, end in pairwise(places)]
    moves = []
    for number, one in enumerate(found):
        before, since = parts[number], parts[number + 1]
        whole = len(before) > 1 and len(since) >= one.values_after
        own = sized(one, Sums().plus_all(before), since) if whole else one
        until = found[number + 1].onset if number + 1 < len(found) else None
        moves.append(_move(series, own, told(own, request.name, when, until)))
    sums = [(start, end, Sums().plus_all(part)) for (start, end), part in zip(pairwise(places), parts, strict=True)]
    return moves, [Stretch(start + 1, end, one.mean, one.variance**0.5) for start, end, one in sums if one.count]


def _move(series: Series, moved: Moved, sentence: str) -> Move:
    def time(at: int) -> datetime | None:
        return from_micros(at) if series.timed else None

    def row(at: int) -> int:
        return int(np.searchsorted(series.at, at)) + 1

    return Move(
        way=moved.way,
        of=moved.of,
        seen=time(moved.seen),
        onset=time(moved.onset),
        earliest=time(moved.earliest),
        latest=time(moved.latest),
        row=row(moved.seen),
        onset_row=row(moved.onset),
        moved=moved,
        sentence=sentence,
    )


class _when:  # noqa: N801 - reads as a function where it is used
    """Tells a time of the series: to the day where values are days or more apart, as a place where there are no times."""

    def __init__(self, series: Series) -> None:
        gaps = np.diff(series.at)
        self._timed, self._gap = series.timed, float(np.median(gaps)) if len(gaps) else 0.0

    def __call__(self, at: int) -> str:
        if not self._timed:
            return f"value {at + 1:,}"
        moment = from_micros(at)
        if self._gap >= _LONG:
            return f"{moment.day} {moment:%B %Y}"
        return f"{moment.day} {moment:%B %Y %H:%M} UTC" if self._gap >= _MINUTE else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _headline(request: SeriesRequest, moves: Sequence[Move], found: int, state: SeriesState, new: int) -> str:
    if found:
        more = f" It is the last of {found} moves." if found > 1 else ""
        return f"{moves[-1].sentence}{more}"
    if state.learns and not moves:
        return (
            f"{request.name} has {times(state.sums.count, 'value')} yet, and {LEAST} are needed to say what is usual."
        )
    return (
        f"{request.name} has not moved in {times(new, 'new value')}."
        if moves
        else f"{request.name} has not moved in {times(new, 'value')}."
    )


def _sentences(moves: Sequence[Move], state: SeriesState, apart: float, evidence: float) -> list[str]:
    carry = carry_of(state.sums, state.earlier)
    kept = (
        "Each value goes on from the one before, as a walk does, so its steps are watched: a level that it only passes through is no move."
        if carry >= 1
        else f"A value keeps about {carry:.0%} of how far the one before lay from the usual, which is taken off before it is judged."
        if carry
        else "Values do not depend on the ones before, as far as is seen."
    )
    held = (
        "holds whatever their law, as far as they are independent"
        if not carry
        else "holds nearly, as what is carried over is learnt"
    )
    promise = f"At most one false alarm in {apart:,.0f} values is to be expected, however often you look; that {held}."
    learns = (
        f"What is usual is being learnt anew since the last move, from {state.sums.count:,} values."
        if moves and state.sums.count < LEAST
        else f"The evidence for the next move stands at {evidence:.0%} of what it takes."
    )
    return [promise, kept, learns]
