"""Which errors recur, when, and what healing cost. Pure: from failures and remedies to figures."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from loopline.pipelines.healing.classes import CLASSES, ErrorClass
from loopline.pipelines.healing.decide import Kind
from loopline.pipelines.healing.record import Failure, Remedied

MOST = 50
_HOURS, _DAYS = 24, 7


class Share(msgspec.Struct, frozen=True):
    """How many of them fall to one step, or to one source."""

    name: str
    count: int


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of one kind and shape: how many `failures` of attempts, in how many `executions`, in which steps, from which
    sources, first and last when (UTC). `told` and `shape` are those of the last.
    """

    fingerprint: str
    class_: ErrorClass = msgspec.field(name="class")
    name: str
    told: str
    shape: str
    failures: int
    executions: int
    steps: list[Share]
    sources: list[Share]
    first: datetime
    last: datetime


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of remedy cost: how often it was tried, helped, failed, and is under way; the time (seconds) from when it was
    begun until it helped or failed; results taken over that were older, and by how many seconds at most; rows set aside.
    """

    kind: Kind
    tried: int
    helped: int
    failed: int
    open: int
    seconds: float
    stale_results: int
    stale_seconds_most: float
    rows_set_aside: int


class Patterns(msgspec.Struct, frozen=True, kw_only=True):
    """Failures in (start, end]: by class, by pattern (the most frequent first), and by weekday (Monday first) and hour in `zone`."""

    start: datetime
    end: datetime
    zone: str
    failures: int
    executions: int
    healed: int
    by_class: dict[str, int]
    patterns: list[Pattern]
    hours: list[list[int]]
    costs: list[Cost]


def patterns(
    failures: Sequence[Failure], remedies: Sequence[Remedied], *, start: datetime, end: datetime, zone: str = "UTC"
) -> Patterns:
    """What recurs among the failures, at most fifty patterns, and what the remedies cost.

    `executions` counts those in which a step failed, `healed` the steps of executions that a remedy helped.
    """
    groups: dict[str, list[Failure]] = {}
    for one in failures:
        groups.setdefault(one.fingerprint, []).append(one)
    frequent = sorted(groups.values(), key=lambda group: (-len(group), group[0].fingerprint))
    classes = Counter(one.class_ for one in failures)
    return Patterns(
        start=start,
        end=end,
        zone=zone,
        failures=len(failures),
        executions=len({one.execution for one in failures}),
        healed=len({(one.execution, one.step) for one in remedies if one.outcome == "helped"}),
        by_class={class_: classes[class_] for class_ in CLASSES if classes[class_]},
        patterns=[_pattern(group) for group in frequent[:MOST]],
        hours=_hours((one.at for one in first_failures(failures)), ZoneInfo(zone)),
        costs=_costs(remedies),
    )


def first_failures(failures: Iterable[Failure]) -> list[Failure]:
    """The first failure of each step of an execution: those that follow it are no news."""
    found: dict[tuple[str, str], Failure] = {}
    for one in failures:
        found.setdefault((one.execution, one.step), one)
    return list(found.values())


def _pattern(group: Sequence[Failure]) -> Pattern:
    last = max(group, key=lambda one: one.at)
    return Pattern(
        fingerprint=last.fingerprint,
        class_=last.class_,
        name=last.name,
        told=last.told,
        shape=last.shape,
        failures=len(group),
        executions=len({one.execution for one in group}),
        steps=_shares(f"{one.pipeline}.{one.step}" for one in group),
        sources=_shares(one.source for one in group if one.source),
        first=min(one.at for one in group),
        last=last.at,
    )


def _shares(names: Iterable[str]) -> list[Share]:
    counted = Counter(names)
    return [Share(name, count) for name, count in sorted(counted.items(), key=lambda one: (-one[1], one[0]))]


def _hours(moments: Iterable[datetime], zone: ZoneInfo) -> list[list[int]]:
    found = [[0] * _HOURS for _ in range(_DAYS)]
    for at in moments:
        local = at.astimezone(zone)
        found[local.weekday()][local.hour] += 1
    return found


def _costs(remedies: Sequence[Remedied]) -> list[Cost]:
    kinds = sorted({one.kind for one in remedies})
    return [_cost(kind, [one for one in remedies if one.kind == kind]) for kind in kinds]


def _cost(kind: Kind, tried: Sequence[Remedied]) -> Cost:
    outcomes = Counter(one.outcome for one in tried)
    stale = [float(one.detail["stale_seconds"]) for one in tried if "stale_seconds" in one.detail]
    return Cost(
        kind=kind,
        tried=len(tried),
        helped=outcomes["helped"],
        failed=outcomes["failed"],
        open=outcomes["open"],
        seconds=sum((one.ended_at - one.at).total_seconds() for one in tried if one.ended_at is not None),
        stale_results=len(stale),
        stale_seconds_most=max(stale, default=0.0),
        rows_set_aside=sum(int(one.detail.get("rows", 0)) for one in tried),
    )
