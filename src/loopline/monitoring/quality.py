"""Data faults: inputs that are broken rather than changed. A model must not be retrained on them."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

import msgspec

from loopline.monitoring.absences import Absences
from loopline.monitoring.column_profile import CategoryProfile, NumberProfile
from loopline.monitoring.profile import Profile, ReferenceProfile
from loopline.monitoring.renames import Rename, find_rename, shares_of_always, still_merged
from loopline.monitoring.units import Recent, changed_measure

MIN_ROWS = 50
_JUMP = 0.05
_ERRORS = 4
_IMPOSSIBLE = 1e-6
_JUMP_FROM_NONE = 0.02
_LEAST_DISTINCT = 8
_STALE = 0.25
_ENOUGH = 0.5
_SPANS = 5


class DataFault(msgspec.Struct, frozen=True):
    """One broken column. `kind` is `null_rate`, `unseen_categories`, `category_split`, `category_rename`, `category_merge`, `out_of_range`,
    `constant`, `unit_change`, `stale_feature`, `repeated`, `stuck` or `stale`; `value` is what was seen and `expected` what is usual, both
    in the measure of that kind.
    """

    column: str
    kind: str
    value: float
    expected: float
    sentence: str


def find_faults(
    reference: ReferenceProfile,
    current: Profile,
    previous: Profile | None = None,
    recent: Recent | None = None,
    absences: Absences | None = None,
) -> list[DataFault]:
    """What looks broken in the current rows, by column; none in a column of fewer than 50 rows.

    A share (of nulls, unseen categories, values out of range) is a fault five points above the most that any of the
    reference's blocks has (two points where none has any), and four standard errors; values out of range also reach five spans of the
    reference beyond it, or they are drift. A column is constant where none of the reference's blocks is, and where independent rows
    would be so with a probability below one in a million; it is stale where it has less than a quarter of the different values that
    the poorest of the reference's blocks has; its unit changed where mean and deviation are far from those of all blocks and, read in
    another measure, as usual; a category is split or renamed where new values have what one known value lost; a column is repeated
    where its counts are those of the `previous` stretch again. With the `recent` stretches, which move on by the current one, a season is
    not taken for another measure; with the `absences` of values so far, which move on likewise, values that take turns are not merged each time.
    """
    columns: list[DataFault] = []
    for name, number in current.numbers.items():
        columns += _of_number(reference, name, number, recent)
    for name, category in current.categories.items():
        columns += _of_category(reference, name, category, absences)
    return columns + (_repeated(current, previous) if previous else [])


def stale(source: str, newest: datetime | None, at: datetime, max_age: timedelta) -> DataFault | None:
    """The fault of a source whose newest row, all in UTC, is older than `max_age`, measured in seconds; None if it is not."""
    age = math.inf if newest is None else (at - newest).total_seconds()
    if age <= max_age.total_seconds():
        return None
    since = "has no rows" if newest is None else f"has nothing newer than {newest:%Y-%m-%d %H:%M} UTC"
    return DataFault(source, "stale", age, max_age.total_seconds(), f"{source} {since}.")


def _of_number(
    reference: ReferenceProfile, name: str, now: NumberProfile, recent: Recent | None
) -> Iterator[DataFault]:
    if now.rows < MIN_ROWS:
        return
    own = [block.numbers[name] for block in _blocks(reference)]
    usual = max(block.null_share for block in own)
    if _jumped(now.null_share, usual, now.rows):
        yield _null_rate(name, now.null_share, usual)
    known = now.rows - now.nulls
    if known < MIN_ROWS:
        return
    far = list(_out_of_range(name, now, reference.profile.numbers[name], known))
    varied = [block.low != block.high for block in own if block.finite]
    if now.low == now.high and all(varied) and _heaviest(reference.profile.numbers[name]) ** known < _IMPOSSIBLE:
        yield DataFault(name, "constant", 1.0, 0.0, f"{name} is {now.low:g} in all of {known} values.")
    elif _stale(now, own):
        yield _stale_feature(name, now, own)
    else:
        changed = list(_unit_change(name, now, reference.profile.numbers[name], own, recent, far=bool(far)))
        far = [] if changed else far
        yield from changed
    yield from far


def _of_category(
    reference: ReferenceProfile, name: str, now: CategoryProfile, absences: Absences | None
) -> Iterator[DataFault]:
    if now.rows < MIN_ROWS:
        return
    own = [block.categories[name] for block in _blocks(reference)]
    usual = max(block.null_share for block in own)
    if _jumped(now.null_share, usual, now.rows):
        yield _null_rate(name, now.null_share, usual)
    unseen, known = now.unseen / now.rows, now.rows - now.nulls
    usual = max(block.unseen / block.rows for block in own if block.rows)
    before = reference.profile.categories[name]
    values = reference.binning.categories[name]
    always = shares_of_always(values, own, now) if absences else {}
    if absences:
        absences.follow(name, always)
    renamed = _rename(name, values, before, own, now, absences) if not usual else None
    if renamed is not None:
        yield DataFault(name, renamed.kind, renamed.share, 0.0, _renamed(name, renamed))
    elif _jumped(unseen, usual, now.rows):
        examples = ", ".join(repr(example) for example in now.examples)
        sentence = f"{name} has values not seen in training in {unseen:.1%} of rows: {examples}."
        yield DataFault(name, "unseen_categories", unseen, usual, sentence)
    varied = [max(block.counts, default=0) < block.rows - block.nulls for block in own if block.rows > block.nulls]
    only = max(now.counts, default=0) == known >= MIN_ROWS and all(varied)
    if absences and only:
        missing = [value for value, (share, _) in always.items() if not share]
        only = not missing or not all(absences.usual(name, value) for value in missing)
    if only and (max(before.counts) / max(before.rows - before.nulls, 1)) ** known < _IMPOSSIBLE:
        value = values[now.counts.index(known)]
        yield DataFault(name, "constant", 1.0, 0.0, f"{name} is {value!r} in all of {known} values.")


def _rename(
    name: str,
    known: Sequence[str],
    before: CategoryProfile,
    own: Sequence[CategoryProfile],
    now: CategoryProfile,
    absences: Absences | None,
) -> Rename | None:
    """Of known values whose absence is nothing new, nothing is found; what was found holds as long as the value is gone."""
    if absences is None:
        return find_rename(known, before, own, now)
    found = find_rename(known, before, own, now, partial(absences.begins, name))
    if found is not None and found.kind == "category_merge":
        absences.tell(name, found.old, found.new[0])
    told = absences.told(name)
    return still_merged(known, before, now, *told) if found is None and told is not None else found


def _blocks(reference: ReferenceProfile) -> Sequence[Profile]:
    return reference.blocks or (reference.profile,)


def _jumped(share: float, usual: float, rows: int) -> bool:
    error = math.sqrt(max(usual * (1 - usual), 1 / rows) / rows)
    return share - usual > max(_JUMP if usual else _JUMP_FROM_NONE, _ERRORS * error)


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


def _stale(now: NumberProfile, own: Sequence[NumberProfile]) -> bool:
    """Whether as many rows as usual have far fewer different values."""
    like = [block for block in own if block.finite and not math.isnan(block.cardinality)]
    if not like or now.finite < _ENOUGH * min(block.finite for block in like):
        return False
    poorest = min(block.cardinality for block in like)
    return poorest >= _LEAST_DISTINCT and now.cardinality < _STALE * poorest


def _stale_feature(name: str, now: NumberProfile, own: Sequence[NumberProfile]) -> DataFault:
    usual = min(block.cardinality for block in own if block.finite)
    sentence = (
        f"{name} has only about {now.cardinality:,.0f} different values in {now.finite:,} rows, where no stretch had fewer than {usual:,.0f}: "
        "it no longer follows its source."
    )
    return DataFault(name, "stale_feature", now.cardinality, usual, sentence)


def _unit_change(
    name: str,
    now: NumberProfile,
    before: NumberProfile,
    own: Sequence[NumberProfile],
    recent: Recent | None,
    *,
    far: bool,
) -> Iterator[DataFault]:
    """`far` says that values lie far outside of the reference: such a stretch does not tell what is usual."""
    measure = recent.goes_on(name, now) if recent else None
    measure = measure or changed_measure(now, before, own, recent.of(name) if recent else ())
    if recent and (measure is not None or not far):
        recent.follow(name, now, measure)
    if measure is None or now.mean is None or before.mean is None:
        return
    guess = f", as between {measure.words}" if measure.words else ""
    if measure.offset:
        size = f"{name} reads in another measure"
    elif measure.factor < 0:
        size = f"{name} has changed its sign"
    else:
        size = f"{name} is {measure.factor:.4g} times what it was"
    sentence = f"{size}{guess}: mean {now.mean:.4g} and deviation {now.deviation:.4g} instead of {before.mean:.4g} and {before.deviation:.4g}."
    yield DataFault(name, "unit_change", measure.factor, 1.0, sentence)


def _renamed(name: str, found: Rename) -> str:
    new = ", ".join(repr(one) for one in found.new)
    if found.kind == "category_merge":
        return f"{name}={found.old!r} no longer comes, and {new} has grown by what it had: {found.before:.1%} of rows."
    if found.kind == "category_rename":
        return f"{name}={found.old!r} no longer comes; {new} comes instead, in {found.share:.1%} of rows, where it had {found.before:.1%}."
    return f"{name}={found.old!r} was split: {new} has {found.share:.1%} of rows, and {found.old!r} fell from {found.before:.1%} to {found.after:.1%}."


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
