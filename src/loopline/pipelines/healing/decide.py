"""What is tried next against an error: a pure function of what was declared and what was tried."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Literal

import msgspec

from loopline.pipelines.healing.classes import Classified, ErrorClass
from loopline.pipelines.healing.remedies import Page, Remedy, Retry, SkipWindow, Wait, When
from loopline.values import derive_seed, duration

# What is retried where nothing was declared: what may be gone in a moment.
RETRIED: frozenset[ErrorClass] = frozenset({"capacity", "dependency", "timeout"})

Kind = Literal["retry", "wait", "quarantine_rows", "last_good", "fall_back", "skip_window", "page", "fail"]

_ENDS = ("skip_window", "page", "fail")


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """A remedy that was tried against an error of this step, in this execution, and when: `rule` and `place` say which it was
    of what was declared.
    """

    kind: Kind
    rule: int
    place: int
    at: datetime


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """What to do now. `at` is when a step that is tried again is ready; None where it is ready at once, or not tried again.

    `remedy` is as declared, None for `fail`. `number` counts how often this very remedy was tried, this time included.
    `escalated` says that something before it has failed.
    """

    kind: Kind
    remedy: Remedy | None
    rule: int
    place: int
    number: int
    at: datetime | None
    escalated: bool
    sentence: str

    @property
    def ends(self) -> bool:
        """Whether the step is over with it."""
        return self.kind in _ENDS

    def tried(self, at: datetime) -> Tried:
        """What the history says of it."""
        return Tried(kind=self.kind, rule=self.rule, place=self.place, at=at)


def next_remedy(
    heal: Sequence[When],
    error: Classified,
    history: Sequence[Tried],
    *,
    now: datetime,
    seed: int = 0,
    path: Sequence[object] = (),
    retries: Retry | None = None,
    retried: frozenset[ErrorClass] = RETRIED,
) -> Next:
    """What to try against the latest error of a step, after `history`: the remedies tried so far in this execution, oldest first.

    The first `when` that fits the error is taken, and of its remedies the first that is not used up. Where the error changed
    its kind, remedies of another `when` do not count. Without one that fits, errors of the `retried` classes are retried as
    `retries` says, then the step fails. `path` names the step and execution: the waits' chance derives from (seed, path).
    """
    for rule, one in enumerate(heal):
        if one.takes(error.class_, error.name, error.code):
            return _of_rule(one.remedies, rule, history, error, now, (seed, *path))
    implied: tuple[Remedy, ...] = (retries,) if retries is not None and error.class_ in retried else ()
    return _of_rule(implied, len(heal), history, error, now, (seed, *path))


def _of_rule(
    remedies: Sequence[Remedy],
    rule: int,
    history: Sequence[Tried],
    error: Classified,
    now: datetime,
    path: tuple[object, ...],
) -> Next:
    mine = [one for one in history if one.rule == rule]
    begun = max((one.place for one in mine), default=0)
    for place, remedy in enumerate(remedies):
        before = [one.at for one in mine if one.place == place]
        if place < begun or _used_up(remedy, before, now):
            continue
        at = _ready(remedy, before, now, path)
        kind = _kind(remedy)
        return Next(
            kind=kind, remedy=remedy, rule=rule, place=place, number=len(before) + 1, at=at, escalated=place > 0,
            sentence=_sentence(remedy, error, len(before) + 1, at),
        )  # fmt: skip
    tried = ", ".join(dict.fromkeys(one.kind.replace("_", " ") for one in mine))
    ending = f"{tried} did not help" if tried else f"nothing is declared against {error.class_} errors"
    return Next(
        kind="fail", remedy=None, rule=rule, place=len(remedies), number=1, at=None, escalated=bool(mine),
        sentence=f"{_what(error)}: {ending}.",
    )  # fmt: skip


def _used_up(remedy: Remedy, before: Sequence[datetime], now: datetime) -> bool:
    if isinstance(remedy, Retry):
        return len(before) >= remedy.times
    if isinstance(remedy, Wait):
        return bool(before) and now - before[0] >= duration(remedy.at_most)
    return bool(before)


def _ready(remedy: Remedy, before: Sequence[datetime], now: datetime, path: tuple[object, ...]) -> datetime | None:
    if isinstance(remedy, Retry):
        full = min(duration(remedy.first) * (1 << min(len(before), 20)), duration(remedy.at_most))
        seed, *rest = path
        drawn = Random(derive_seed(int(str(seed)), "retry", *rest, len(before))).random()  # noqa: S311 - no secret
        return now + full * (1 - drawn / 2)
    if isinstance(remedy, Wait):
        end = (before[0] if before else now) + duration(remedy.at_most)
        return max(now + timedelta(seconds=1), min(now + duration(remedy.every), end))
    return None


def _kind(remedy: Remedy) -> Kind:
    names: dict[str, Kind] = {
        "Retry": "retry", "Wait": "wait", "QuarantineRows": "quarantine_rows", "LastGood": "last_good",
        "FallBack": "fall_back", "SkipWindow": "skip_window", "Page": "page",
    }  # fmt: skip
    return names[type(remedy).__name__]


def _sentence(remedy: Remedy, error: Classified, number: int, at: datetime | None) -> str:
    when = f" at {at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
    if isinstance(remedy, Retry):
        done = f"it is tried again{when} ({number} of {remedy.times})"
    elif isinstance(remedy, Wait):
        done = f"its source is waited for, up to {remedy.at_most}; tried again{when}"
    elif isinstance(remedy, SkipWindow):
        later = f", and executed again after {remedy.backfill_after}" if remedy.backfill_after else ""
        done = f"its window is skipped{later}"
    elif isinstance(remedy, Page):
        done = f"{remedy.to or 'the owner'} is paged"
    else:
        done = {
            "quarantine_rows": "the bad rows are set aside and it goes on with the rest",
            "last_good": "it goes on with what was good last",
        }.get(_kind(remedy), f"{getattr(remedy, 'step', '')} is called instead")
    return f"{_what(error)}: {done}."


def _what(error: Classified) -> str:
    return f"{error.class_} error {error.name}"
