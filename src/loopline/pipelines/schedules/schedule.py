"""Schedules as they stand in the database: declared with a pipeline, paused and resumed by people."""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any, Literal

import msgspec

from loopline.errors import InvalidInput, NotFound
from loopline.ledger import chain
from loopline.pipelines.schedules import store
from loopline.pipelines.schedules.cron import Cron
from loopline.pipelines.schedules.interval import Interval
from loopline.pipelines.schedules.triggers import OnTable
from loopline.pipelines.schedules.when import KINDS, When, of_pipeline
from loopline.storage.database import Transaction, lock
from loopline.tables.tables import Tables
from loopline.values import canonical_json, derive_id, utc

State = Literal["active", "paused", "removed"]

TIMED = ("cron", "interval")
SIGNALLED = ("alarm", "webhook")


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule of a pipeline. All fire times up to `passed` are decided, and all versions of a table up to `version`.

    `next_at` is the next fire time (UTC) of one that goes by a clock; `changed_at`, `changed_by` and `reason` tell of the last
    time somebody declared, paused, resumed or removed it.
    """

    id: str
    project: str
    pipeline: str
    kind: str
    declared: When
    state: State
    declared_at: datetime
    passed: datetime
    next_at: datetime | None
    version: int | None
    changed_at: datetime
    changed_by: str
    reason: str


def schedule_id(project: str, pipeline: str, when: When) -> str:
    """The id follows from what fires the pipeline and with which params; a policy may change and it stays the same."""
    told = msgspec.to_builtins(when)
    told.pop("policy", None)
    return derive_id("sched", 0, project, pipeline, canonical_json(told).decode())


def declare(
    tx: Transaction,
    *,
    project: str,
    pipeline: str,
    schedules: Iterable[When],
    at: datetime,
    actor: str,
    tables: Tables | None = None,
) -> list[Schedule]:
    """Make `schedules` those of the pipeline, in the caller's transaction; says what they are now.

    A new one fires for what comes after `at`: fire times, and versions of a table that is not there yet in `tables`. One that
    was declared before goes on where it was, paused or not; one that is declared no more is removed.
    """
    lock(tx, "schedules", project, pipeline)
    kept = [_declared(tx, project, pipeline, when, utc(at), actor, tables) for when in of_pipeline(list(schedules))]
    names = {one.id for one in kept}
    for one in find(tx, project, pipeline=pipeline):
        if one.id not in names:
            _change(tx, one, at, actor, "declared no more", state="removed", next_at=None)
    return kept


def _declared(
    tx: Transaction, project: str, pipeline: str, when: When, at: datetime, actor: str, tables: Tables | None
) -> Schedule:
    found = store.one_schedule(tx, schedule_id(project, pipeline, when))
    if found is not None and found["state"] != "removed":
        was = _read(found)
        if was.declared == when and (was.next_at is not None or was.kind not in TIMED):
            return was
        return _change(tx, was, at, actor, "declared anew", declared=when, next_at=next_fire(when, was.passed))
    made = Schedule(
        id=schedule_id(project, pipeline, when),
        project=project,
        pipeline=pipeline,
        kind=KINDS[type(when)],
        declared=when,
        state="active",
        declared_at=at,
        passed=at,
        next_at=next_fire(when, at),
        version=newest(when, tables),
        changed_at=at,
        changed_by=actor,
        reason="declared",
    )
    store.put_schedule(tx, _row(made))
    return made


def pause(tx: Transaction, found: Schedule, *, at: datetime, actor: str, reason: str) -> Schedule:
    """Start nothing by it until it is resumed. Paused already, it stays as it is."""
    lock(tx, "schedule", found.id)
    now = get(tx, found.id)
    if now.state == "paused":
        return now
    _record(tx, now, "schedule.paused", actor, at, {"sentence": reason})
    return _change(tx, now, at, actor, reason, state="paused")


def resume(
    tx: Transaction,
    found: Schedule,
    *,
    at: datetime,
    actor: str,
    reason: str,
    catch_up: bool = False,
    tables: Tables | None = None,
) -> Schedule:
    """Start by it again what comes after `at`; with `catch_up` also, as its policy says, what fell into the pause.

    One that is active goes on from `at` too: so one whose clock once was far ahead fires again. No tick is doubled by it.
    """
    lock(tx, "schedule", found.id)
    now = get(tx, found.id)
    passed = now.passed if catch_up else utc(at)
    version = now.version if catch_up else newest(now.declared, tables)
    next_at = next_fire(now.declared, passed)
    _record(tx, now, "schedule.resumed", actor, at, {"sentence": reason, "catch_up": catch_up})
    return _change(tx, now, at, actor, reason, state="active", passed=passed, version=version, next_at=next_at)


def get(tx: Transaction, schedule_id: str) -> Schedule:
    """The schedule. Raises `NotFound`."""
    row = store.one_schedule(tx, schedule_id)
    if row is None or row["state"] == "removed":
        raise NotFound(
            "schedule.unknown", f"there is no schedule {schedule_id!r}", remedy="`loopline schedules` lists them."
        )
    return _read(row)


def active(tx: Transaction, schedule_id: str) -> Schedule | None:
    """The schedule; None where it is paused, removed, or not there."""
    row = store.one_schedule(tx, schedule_id)
    return _read(row) if row is not None and row["state"] == "active" else None


def find(
    tx: Transaction,
    project: str,
    *,
    pipeline: str | None = None,
    kinds: tuple[str, ...] = (),
    due: datetime | None = None,
    paused: bool = True,
) -> list[Schedule]:
    """The project's schedules, by pipeline; of some kinds, due by then, or only those that are not paused."""
    states = ("active", "paused") if paused else ("active",)
    found = [_read(row) for row in store.schedules(tx, project, states=states, kinds=kinds, due=due)]
    return [one for one in found if pipeline in {None, one.pipeline}]


def projects(tx: Transaction) -> list[str]:
    """The projects that have, or had, schedules."""
    return store.projects(tx)


def upcoming(found: Schedule, now: datetime, count: int) -> list[datetime]:
    """The next fire times (UTC) from `now` on; none for one that is paused, or goes by no clock."""
    if found.state != "active" or not isinstance(found.declared, (Cron, Interval)):
        return []
    return list(islice(found.declared.after(max(found.passed, now)), count))


def next_fire(when: When, after: datetime) -> datetime | None:
    """The next fire time (UTC) after that moment; None for what goes by no clock."""
    return next(when.after(after), None) if isinstance(when, (Cron, Interval)) else None


def newest(when: When, tables: Tables | None) -> int | None:
    """The newest version of the table that a trigger waits for: -1 where it is not there yet, None for another trigger."""
    if not isinstance(when, OnTable):
        return None
    if tables is None:
        raise InvalidInput("schedule.without_tables", f"{when.sentence} needs tables", remedy="Hand them in.")
    return tables.open(when.table).version if tables.exists(when.table) else -1


def _change(tx: Transaction, was: Schedule, at: datetime, actor: str, reason: str, **values: Any) -> Schedule:
    made = msgspec.structs.replace(was, changed_at=utc(at), changed_by=actor, reason=reason, **values)
    store.put_schedule(tx, _row(made))
    return made


def _record(tx: Transaction, found: Schedule, kind: str, actor: str, at: datetime, body: dict[str, Any]) -> None:
    told = {"pipeline": found.pipeline, "schedule": found.declared.sentence, **body}
    key = f"{kind}:{found.id}:{chain.head(tx, found.project).seq}"
    chain.append(tx, project=found.project, at=at, kind=kind, actor=actor, subject=found.id, body=told, key=key)


def _row(found: Schedule) -> dict[str, Any]:
    return msgspec.structs.asdict(found) | {"declared": msgspec.to_builtins(found.declared)}


def _read(row: dict[str, Any]) -> Schedule:
    return Schedule(**row | {"declared": msgspec.convert(row["declared"], When)})
