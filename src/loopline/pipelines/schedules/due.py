"""Which ticks a clock has made due, and what becomes of each: pure, so that every scheduler comes to the same."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Protocol

import msgspec

from loopline.pipelines.schedules.policy import Policy
from loopline.values import Window

AT_ONCE = 100  # in one transaction; the rest comes with the next
COUNTED = 1000  # as far as missed ticks are counted one by one

_FIRST_STEP = timedelta(hours=1)


class Timed(Protocol):
    """What fires by a clock."""

    @property
    def policy(self) -> Policy:
        """What becomes of missed ticks."""
        ...

    def after(self, at: datetime) -> Iterator[datetime]:
        """The moments (UTC) at which it fires after `at`, oldest first."""
        ...


class PassedOver(msgspec.Struct, frozen=True):
    """Ticks that are not started: those from `first` to `last`, `count` of them (or more, where it is `COUNTED`)."""

    first: datetime
    last: datetime
    count: int
    reason: str


class Due(msgspec.Struct, frozen=True):
    """What a moment brings: `starts` are windows whose ends are the fire times, oldest first. All fire times up to `passed`
    are then decided.
    """

    starts: list[Window]
    passed_over: PassedOver | None
    passed: datetime


def due(timed: Timed, *, passed: datetime, now: datetime) -> Due | None:
    """What is due at `now`, where all fire times up to `passed` are decided; None where nothing is.

    A clock that was set back brings nothing until it has passed `passed` again.
    """
    first = next(timed.after(passed), None)
    if first is None or first > now:
        return None
    policy = timed.policy
    since = max(passed, now - policy.limit) if policy.limit is not None else passed
    if policy.limit is not None and since > passed:
        since -= timedelta(microseconds=1)  # a tick that is just as late as it may be is in time
    fires = _last(timed, since, now) if policy.catch_up != "all" else _some(timed, since, now)
    begun = fires[0] if fires else None
    late = _passed_over(timed, passed, begun, now, policy)
    before = _before(timed, begun) if begun is not None else None
    starts = [Window(start, end) for start, end in zip([before, *fires], fires, strict=False) if start is not None]
    return Due(starts, late, fires[-1] if fires else (late.last if late is not None else now))


def _some(timed: Timed, since: datetime, now: datetime) -> list[datetime]:
    return list(islice(takewhile(lambda fire: fire <= now, timed.after(since)), AT_ONCE))


def _last(timed: Timed, since: datetime, now: datetime) -> list[datetime]:
    """The last fire in (since, now], looked for from ever further back."""
    step = _FIRST_STEP
    while True:
        begin = max(since, now - step)
        last = None
        for last in takewhile(lambda fire: fire <= now, timed.after(begin)):  # noqa: B007 - the last is wanted
            pass
        if last is not None or begin == since:
            return [last] if last is not None else []
        step *= 4


def _before(timed: Timed, fire: datetime) -> datetime:
    """The fire before this one: where its window starts."""
    step = _FIRST_STEP
    while True:
        last = None
        for last in takewhile(lambda found: found < fire, timed.after(fire - step)):  # noqa: B007 - the last is wanted
            pass
        if last is not None:
            return last
        step *= 4


def _passed_over(
    timed: Timed, passed: datetime, begun: datetime | None, now: datetime, policy: Policy
) -> PassedOver | None:
    until = begun - timedelta(microseconds=1) if begun is not None else now
    missed = list(islice(takewhile(lambda fire: fire <= until, timed.after(passed)), COUNTED))
    if not missed:
        return None
    last = missed[-1] if len(missed) < COUNTED else _last(timed, passed, until)[0]
    reason = f"catch_up={policy.catch_up!r}" + (f", within={policy.within!r}" if policy.within else "")
    return PassedOver(missed[0], last, len(missed), reason)
