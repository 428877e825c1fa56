"""Ticks: one row for each time a schedule fired, unique. Whoever inserts it starts the execution in the same transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec
import structlog

from loopline.errors import LooplineError, Unavailable
from loopline.pipelines.schedules import store
from loopline.pipelines.schedules.due import PassedOver
from loopline.pipelines.schedules.schedule import Schedule
from loopline.storage.database import Transaction
from loopline.values import Window, derive_id, utc

log = structlog.get_logger(__name__)

TickState = Literal["started", "passed_over", "refused"]


class Start(Protocol):
    """Begins an execution in the caller's transaction and gives its id.

    `window` is None where a signal fires the pipeline; `at` is now; `tick` is the same whenever it is tried again.
    """

    def __call__(
        self, tx: Transaction, pipeline: str, params: dict[str, Any], window: Window | None, at: datetime, *, tick: str
    ) -> str: ...


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """One firing: at `fire_at` (UTC), for the times in (window_start, window_end], and the `execution` it started.

    One that is passed over, or refused by the pipeline, says why in `reason`; `count` is how many of them the row stands for.
    """

    schedule: str
    key: str
    fire_at: datetime
    window_start: datetime | None = None
    window_end: datetime | None = None
    state: TickState = "started"
    count: int = 1
    reason: str = ""
    execution: str | None = None
    decided_at: datetime

    @property
    def id(self) -> str:
        """The tick's id, from its schedule and key."""
        return derive_id("tick", 0, self.schedule, self.key)


def fire(
    tx: Transaction,
    found: Schedule,
    start: Start,
    *,
    key: str,
    fire_at: datetime,
    window: Window | None,
    at: datetime,
    reason: str = "",
    params: Mapping[str, Any] | None = None,
) -> Tick | None:
    """Start an execution unless this tick is decided already; None where it is. Its `params` are those of the schedule by default.

    A pipeline that refuses (any of our errors but `Unavailable`) leaves a tick that says so, and nothing else of what it did.
    """
    made = Tick(
        schedule=found.id,
        key=key,
        fire_at=utc(fire_at),
        window_start=window.start if window else None,
        window_end=window.end if window else None,
        reason=reason,
        decided_at=utc(at),
    )
    if not store.add_tick(tx, msgspec.structs.asdict(made)):
        return None
    decided = _started(tx, found, start, made, window, at, dict(found.declared.params if params is None else params))
    values = {"state": decided.state, "reason": decided.reason, "execution": decided.execution}
    store.change_tick(tx, found.id, key, values)
    return decided


def _started(
    tx: Transaction,
    found: Schedule,
    start: Start,
    made: Tick,
    window: Window | None,
    at: datetime,
    params: dict[str, Any],
) -> Tick:
    try:
        with tx.begin_nested():
            execution = start(tx, found.pipeline, params, window, at, tick=made.id)
    except Unavailable:
        raise
    except LooplineError as error:
        log.warning("tick_refused", schedule=found.id, pipeline=found.pipeline, error=str(error))
        return msgspec.structs.replace(made, state="refused", reason=f"{error.message} [{error.code}]")
    return msgspec.structs.replace(made, execution=execution)


def pass_over(tx: Transaction, found: Schedule, late: PassedOver, at: datetime) -> Tick | None:
    """Note ticks that are not started, as one row."""
    more = " or more" if late.count > 1 and late.first != late.last else ""
    reason = f"{late.count} missed{more} from {late.first:%Y-%m-%d %H:%M} UTC: {late.reason}"
    return _passed_over(
        tx, found, key=f"until:{late.last.isoformat()}", fire_at=late.last, at=at, reason=reason, count=late.count
    )


def pass_over_signal(tx: Transaction, found: Schedule, *, key: str, fire_at: datetime, at: datetime) -> Tick | None:
    """Note a signal that came while the schedule was paused."""
    return _passed_over(tx, found, key=key, fire_at=fire_at, at=at, reason="paused", count=1)


def _passed_over(
    tx: Transaction, found: Schedule, *, key: str, fire_at: datetime, at: datetime, **told: Any
) -> Tick | None:
    made = Tick(schedule=found.id, key=key, fire_at=utc(fire_at), state="passed_over", decided_at=utc(at), **told)
    return made if store.add_tick(tx, msgspec.structs.asdict(made)) else None


def ticks(tx: Transaction, schedules: list[str], *, limit: int | None = 100) -> list[Tick]:
    """The ticks of these schedules, newest first."""
    return [Tick(**row) for row in store.ticks(tx, schedules, limit=limit)]
