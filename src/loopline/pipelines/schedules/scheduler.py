"""The scheduler: looks what is due and starts it. Any number may be alive at once, on any number of machines.

Each decision is one transaction: the ticks, the executions they start, and how far the schedule has been decided. So a
scheduler that is killed has decided all of it or nothing, and another one goes on. Decisions about one schedule wait for
each other; that each tick starts one execution rests on its row being unique, not on that.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog

from loopline.clock import Clock
from loopline.errors import told
from loopline.pipelines.schedules import store
from loopline.pipelines.schedules.cron import Cron
from loopline.pipelines.schedules.due import due
from loopline.pipelines.schedules.interval import Interval
from loopline.pipelines.schedules.schedule import SIGNALLED, TIMED, Schedule, active, find, next_fire
from loopline.pipelines.schedules.signal import Signal, waiting
from loopline.pipelines.schedules.tick import Start, Tick, fire, pass_over, pass_over_signal
from loopline.pipelines.schedules.triggers import OnAlarm, OnTable, OnWebhook
from loopline.storage.database import Database, Transaction, lock
from loopline.tables.log import TableVersion
from loopline.tables.tables import Tables
from loopline.values import MICROSECOND, Window

log = structlog.get_logger(__name__)

SIGNALS_KEPT = timedelta(days=30)


Prepare = Callable[[str, dict[str, Any], Window | None], None]


def _never(_: Transaction) -> str:
    return ""


def _nothing(_pipeline: str, _params: dict[str, Any], _window: Window | None) -> None:
    pass


class Scheduler:
    """Fires the schedules of one project, by the domain's clock.

    `start` begins an execution; `prepare` is told before the transaction, with its pipeline, params and window, so that what takes long is
    done by then. `held` says why nothing may be started now, such as a freeze, or nothing: what falls into that
    time is missed, and caught up with as each schedule's policy says.
    """

    def __init__(
        self,
        database: Database,
        project: str,
        *,
        start: Start,
        clock: Clock,
        tables: Tables | None = None,
        held: Callable[[Transaction], str] = _never,
        prepare: Prepare = _nothing,
    ) -> None:
        self._database, self._project, self._clock = database, project, clock
        self._start, self._tables, self._held, self._prepare = start, tables, held, prepare

    def step(self) -> list[Tick]:
        """Fire what is due now; gives the ticks decided. What fails is logged and due again with the next step."""
        now = self._clock.now()
        with self._database.reading() as tx:
            if self._held(tx):
                return []
            timed = find(tx, self._project, kinds=TIMED, due=now, paused=False)
            tabled = find(tx, self._project, kinds=("table",), paused=False)
            signals = waiting(tx, self._project)
        works: list[Callable[[], list[Tick]]] = [lambda one=one: self._by_clock(one, now) for one in timed]  # type: ignore[misc]
        works += [lambda one=one: self._by_table(one, now) for one in tabled]  # type: ignore[misc]
        works += [lambda one=one: self._by_signal(one, now) for one in signals]  # type: ignore[misc]
        return [tick for work in works for tick in self._attempt(work)]

    def _attempt(self, work: Callable[[], list[Tick]]) -> list[Tick]:
        try:
            return work()
        except Exception as error:  # one schedule in trouble must not keep the others waiting
            log.exception("schedule_failed", project=self._project, error=told(error))
            return []

    def _by_clock(self, seen: Schedule, now: datetime) -> list[Tick]:
        if isinstance(seen.declared, (Cron, Interval)) and (likely := due(seen.declared, passed=seen.passed, now=now)):
            for window in likely.starts:
                self._prepare(seen.pipeline, seen.declared.params, window)
        with self._database.transaction() as tx:
            found = self._mine(tx, seen)
            if found is None or not isinstance(found.declared, (Cron, Interval)):
                return []
            decided: list[Tick | None] = []
            brings = due(found.declared, passed=found.passed, now=now)
            passed = brings.passed if brings else found.passed
            if brings and brings.passed_over:
                decided.append(pass_over(tx, found, brings.passed_over, now))
            for window in brings.starts if brings else []:
                key = window.end.isoformat()
                decided.append(fire(tx, found, self._start, key=key, fire_at=window.end, window=window, at=now))
            values = {"passed": passed, "next_at": next_fire(found.declared, passed)}
            store.change_schedule(tx, found.id, values)
        return [tick for tick in decided if tick is not None]

    def _by_table(self, seen: Schedule, now: datetime) -> list[Tick]:
        trigger, tables = seen.declared, self._tables
        if not isinstance(trigger, OnTable) or tables is None or not tables.exists(trigger.table):
            return []
        table = tables.open(trigger.table)
        newest = table.version
        if seen.version is not None and newest <= seen.version:
            return []
        versions = table.versions()
        for _, window in _changes(
            versions, newest if seen.version is None else seen.version, newest, each=trigger.each
        ):
            self._prepare(seen.pipeline, trigger.params, window)
        with self._database.transaction() as tx:
            found = self._mine(tx, seen)
            if found is None or found.version is None or newest <= found.version:
                return []
            decided = [
                fire(tx, found, self._start, key=f"version:{new[0].version}", fire_at=window.end, window=window, at=now,
                     reason=_told(new))
                for new, window in _changes(versions, found.version, newest, each=trigger.each)
            ]  # fmt: skip
            store.change_schedule(tx, found.id, {"version": newest})
        return [tick for tick in decided if tick is not None]

    def _by_signal(self, signal: Signal, now: datetime) -> list[Tick]:
        decided: list[Tick | None] = []
        with self._database.reading() as tx:
            hearing = find(tx, self._project, kinds=SIGNALLED, paused=False)
        for one in hearing:
            if isinstance(one.declared, (OnAlarm, OnWebhook)) and one.declared.takes(signal.kind, signal.subject):
                self._prepare(one.pipeline, one.declared.given(signal.subject), None)
        with self._database.transaction() as tx:
            if not store.take_signal(tx, signal.id, now):
                return []
            store.forget_signals(tx, self._project, now - SIGNALS_KEPT)
            for found in find(tx, self._project, kinds=SIGNALLED):
                trigger, key = found.declared, signal.id
                if not isinstance(trigger, (OnAlarm, OnWebhook)) or not trigger.takes(signal.kind, signal.subject):
                    continue
                if found.state == "paused":
                    decided.append(pass_over_signal(tx, found, key=key, fire_at=signal.at, at=now))
                else:
                    given = trigger.given(signal.subject)
                    ticked = fire(tx, found, self._start, key=key, fire_at=signal.at, window=None, at=now, params=given)
                    decided.append(ticked)
        return [tick for tick in decided if tick is not None]

    def _mine(self, tx: Transaction, seen: Schedule) -> Schedule | None:
        """The schedule as it is now, locked; None where it was paused or removed, or everything is held, in the meantime."""
        lock(tx, "schedule", seen.id)
        return None if self._held(tx) else active(tx, seen.id)


def _changes(
    versions: list[TableVersion], seen: int, newest: int, *, each: bool
) -> list[tuple[list[TableVersion], Window]]:
    """Versions that added rows, together or each, with the times they came to be known in: windows follow each other, whatever versions without
    rows lie between.
    """
    new = [one for one in versions if seen < one.version <= newest and one.rows > 0]
    groups = [[one] for one in new] if each else [new] if new else []
    times = {one.version: one.committed_at for one in versions}
    known = [one.version for one in versions if one.version <= seen and one.rows > 0]
    first = times.get(known[-1] if known else new[0].version - 1) if new else None
    starts = [first, *(group[-1].committed_at for group in groups)]
    return [(group, _window(start, group[-1].committed_at)) for start, group in zip(starts, groups, strict=False)]


def _window(start: datetime | None, end: datetime) -> Window:
    """A clock that was set back between two commits leaves no time between them: then the window is its end."""
    return Window(start if start is not None and start < end else end - MICROSECOND, end)


def _told(new: list[TableVersion]) -> str:
    first, last = new[0].version, new[-1].version
    rows = sum(one.rows for one in new)
    return f"version {last}, {rows} rows" if first == last else f"versions {first} to {last}, {rows} rows"
