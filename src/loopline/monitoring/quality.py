"""Data faults: inputs that are broken rather than changed. A model must not be retrained on them."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from loopline.monitoring.profile import CategoryProfile, NumberProfile, Profile, ReferenceProfile

MIN_ROWS = 50
_JUMP = 0.05
_ERRORS = 4
_IMPOSSIBLE = 1e-6
_CLOSE = 0.03
_FAR = 8.0
_SPANS = 5

UNITS = {
    "feet and metres": 0.3048,
    "inches and millimetres": 25.4,
    "inches and centimetres": 2.54,
    "miles and kilometres": 1.609344,
    "knots and kilometres per hour": 1.852,
    "pounds and kilograms": 0.45359237,
    "seconds and minutes, or minutes and hours": 60.0,
    "seconds and hours": 3600.0,
    "shares and percent": 100.0,
    "units and thousands": 1000.0,
    "units and millions": 1e6,
}


class DataFault(msgspec.Struct, frozen=True):
    """One broken column. `kind` is `null_rate`, `unseen_categories`, `out_of_range`, `constant`, `unit_change`, `repeated`,
    `stuck` or `stale`; `value` is what was seen and `expected` what is usual, both in the measure of that kind.
    """

    column: str
    kind: str
    value: float
    expected: float
    sentence: str


def find_faults(reference: ReferenceProfile, current: Profile, previous: Profile | None = None) -> list[DataFault]:
    """What looks broken in the current rows, by column; none in a column of fewer than 50 rows.

    A share (of nulls, unseen categories, values out of range) is a fault five points above the most that any of the
    reference's blocks has, and four standard errors; values out of range also reach five spans of the reference beyond it,
    or they are drift. A column is constant where none of the reference's blocks is, and where independent rows would be so with a
    probability below one in a million; its unit changed where mean and deviation both scaled by the factor of two known
    units, and by more than they do between the reference's blocks; it is repeated where its counts are those of the
    `previous` stretch again.
    """
    columns: list[DataFault] = []
    for name, number in current.numbers.items():
        columns += _of_number(reference, name, number)
    for name, category in current.categories.items():
        columns += _of_category(reference, name, category)
    return columns + (_repeated(current, previous) if previous else [])


def stale(source: str, newest: datetime | None, at: datetime, max_age: timedelta) -> DataFault | None:
    """The fault of a source whose newest row, all in UTC, is older than `max_age`, measured in seconds; None if it is not."""
    age = math.inf if newest is None else (at - newest).total_seconds()
    if age <= max_age.total_seconds():
        return None
    since = "has no rows" if newest is None else f"has nothing newer than {newest:%Y-%m-%d %H:%M} UTC"
    return DataFault(source, "stale", age, max_age.total_seconds(), f"{source} {since}.")


def _of_number(reference: ReferenceProfile, name: str, now: NumberProfile) -> Iterator[DataFault]:
    if now.rows < MIN_ROWS:
        return
    own = [block.numbers[name] for block in _blocks(reference)]
    usual = max(block.null_share for block in own)
    if _jumped(now.null_share, usual, now.rows):
        yield _null_rate(name, now.null_share, usual)
    known = now.rows - now.nulls
    if known < MIN_ROWS:
        return
    yield from _out_of_range(name, now, reference.profile.numbers[name], known)
    varied = [block.low != block.high for block in own if block.finite]
    if now.low == now.high and all(varied) and _heaviest(reference.profile.numbers[name]) ** known < _IMPOSSIBLE:
        yield DataFault(name, "constant", 1.0, 0.0, f"{name} is {now.low:g} in all of {known} values.")
    else:
        yield from _unit_change(name, now, reference.profile.numbers[name], own)


def _of_category(reference: ReferenceProfile, name: str, now: CategoryProfile) -> Iterator[DataFault]:
    if now.rows < MIN_ROWS:
        return
    own = [block.categories[name] for block in _blocks(reference)]
    usual = max(block.null_share for block in own)
    if _jumped(now.null_share, usual, now.rows):
        yield _null_rate(name, now.null_share, usual)
    unseen, known = now.unseen / now.rows, now.rows - now.nulls
    usual = max(block.unseen / block.rows for block in own if block.rows)
    if _jumped(unseen, usual, now.rows):
        examples = ", ".join(repr(example) for example in now.examples)
        sentence = f"{name} has values not seen in training in {unseen:.1%} of rows: {examples}."
        yield DataFault(name, "unseen_categories", unseen, usual, sentence)
    before = reference.profile.categories[name]
    varied = [max(block.counts, default=0) < block.rows - block.nulls for block in own if block.rows > block.nulls]
    only = max(now.counts, default=0) == known >= MIN_ROWS and all(varied)
    if only and (max(before.counts) / max(before.rows - before.nulls, 1)) ** known < _IMPOSSIBLE:
        value = reference.binning.categories[name][now.counts.index(known)]
        yield DataFault(name, "constant", 1.0, 0.0, f"{name} is {value!r} in all of {known} values.")


def _blocks(reference: ReferenceProfile) -> Sequence[Profile]:
    return reference.blocks or (reference.profile,)


def _jumped(share: float, usual: float, rows: int) -> bool:
    error = math.sqrt(max(usual * (1 - usual), 1 / rows) / rows)
    return share - usual > max(_JUMP, _ERRORS * error)


def _null_rate(name: str, share: float, usual: float) -> DataFault:
    sentence = f"{name} is missing in {share:.1%} of rows; it was in at most {usual:.1%}."
    return DataFault(name, "null_rate", share, usual, sentence)


def _out_of_range(name: str, now: NumberProfile, before: NumberProfile, known: int) -> Iterator[DataFault]:
    """Values a season can reach are drift; a sentinel such as -999 lies many spans away."""
    share = now.out_of_range / known
    if now.low is None or now.high is None or before.low is None or before.high is None:
        return
    span = before.high - before.low
    far = max(before.low - now.low, now.high - before.high) > _SPANS * span
    if far and _jumped(share, 0.0, known):
        sentence = (
            f"{name} reaches from {now.low:.4g} to {now.high:.4g} and is outside of [{before.low:.4g}, {before.high:.4g}], "
            f"all it was trained on, in {share:.1%} of its values."
        )
        yield DataFault(name, "out_of_range", share, 0.0, sentence)


def _heaviest(number: NumberProfile) -> float:
    """An upper bound of the share of the most frequent value: that of the heaviest bin; 1 for a constant."""
    return max(number.counts) / max(sum(number.counts), 1)


def _unit_change(
    name: str, now: NumberProfile, before: NumberProfile, own: Sequence[NumberProfile]
) -> Iterator[DataFault]:
    factor = _factor(before, now)
    if factor is None:
        return
    seen = [abs(math.log(ratio)) for block in own if (ratio := _factor(before, block, close=math.inf)) is not None]
    if abs(math.log(factor)) <= 2 * max(seen, default=0.0):
        return
    units = [units for units, known in UNITS.items() if min(_apart(factor, known), _apart(factor, 1 / known)) < _CLOSE]
    if units or not 1 / _FAR < factor < _FAR:
        guess = f", as between {units[0]}" if units else ""
        sentence = f"{name} is {factor:.4g} times what it was, in mean and in spread{guess}."
        yield DataFault(name, "unit_change", factor, 1.0, sentence)


def _factor(before: NumberProfile, now: NumberProfile, close: float = 0.1) -> float | None:
    """By how much values were multiplied, if mean and deviation agree on it within `close` (as a difference of logs)."""
    if before.mean is None or now.mean is None or before.mean * now.mean <= 0 or not before.deviation * now.deviation:
        return None
    mean, deviation = now.mean / before.mean, now.deviation / before.deviation
    return math.sqrt(mean * deviation) if _apart(mean, deviation) <= close else None


def _apart(a: float, b: float) -> float:
    return abs(math.log(a / b))


def _repeated(current: Profile, previous: Profile) -> list[DataFault]:
    """Equal counts and moments of many different values do not come twice by chance."""
    faults = []
    for name, now in current.numbers.items():
        same = now == previous.numbers[name] and now.finite >= MIN_ROWS and now.low != now.high
        if same and sum(count > 0 for count in now.counts) > 1:
            sentence = f"{name} has exactly the values of the stretch before."
            faults.append(DataFault(name, "repeated", 1.0, 0.0, sentence))
    return faults


def stuck(name: str, value: float, share: float, usual: float, rows: int) -> DataFault | None:
    """The fault of a number that is one and the same `value` in a `share` of rows, where the most of the reference's blocks is
    `usual`: such as what a fallback answers. None where that is no jump, or for fewer than 50 rows.
    """
    if rows < MIN_ROWS or not _jumped(share, usual, rows):
        return None
    sentence = f"{name} is exactly {value:.6g} in {share:.1%} of rows; no value was in more than {usual:.1%}."
    return DataFault(name, "stuck", share, usual, sentence)
