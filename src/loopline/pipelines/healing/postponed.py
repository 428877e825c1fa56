"""Windows that were skipped, and are executed again when their time has come."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import structlog

from loopline.errors import LooplineError, Unavailable
from loopline.pipelines.healing import store
from loopline.pipelines.healing.remedies import SkipWindow
from loopline.storage.database import Database, Transaction, lock
from loopline.values import Window, canonical_json, derive_id, duration, utc

log = structlog.get_logger(__name__)

AT_ONCE = 20

StartWindow = Callable[[Transaction, "Postponed", datetime], str]


class Postponed(msgspec.Struct, frozen=True, kw_only=True):
    """A window of a pipeline, with its params, that is due again at `due_at` (UTC); `number` counts how often it was put off."""

    id: str
    project: str
    pipeline: str
    params: dict[str, Any]
    window_start: datetime
    window_end: datetime
    number: int
    due_at: datetime
    execution: str | None = None
    started_at: datetime | None = None
    why: str = ""

    @property
    def window(self) -> Window:
        """The times it is for."""
        return Window(self.window_start, self.window_end)

    def is_of(self, execution: str) -> bool:
        """Whether it was this execution that put the window off."""
        return self.id == _id(self.project, self.pipeline, self.params, self.window, execution)


def postpone(
    tx: Transaction,
    remedy: SkipWindow,
    *,
    project: str,
    pipeline: str,
    params: Mapping[str, Any],
    window: Window,
    execution: str,
    at: datetime,
    why: str,
) -> Postponed | None:
    """Put a window off, once for each `execution` that skips it; None where it is not to be executed again, or was often enough."""
    if not remedy.backfill_after:
        return None
    lock(tx, "postponed", project, pipeline)
    before = store.how_often_postponed(tx, project, pipeline, window.start, window.end, dict(params))
    if before >= remedy.times:
        return None
    made = Postponed(
        id=_id(project, pipeline, params, window, execution),
        project=project,
        pipeline=pipeline,
        params=dict(params),
        window_start=window.start,
        window_end=window.end,
        number=before + 1,
        due_at=utc(at) + duration(remedy.backfill_after),
        why=why,
    )
    store.add_postponed(tx, msgspec.structs.asdict(made))
    return made


def _id(project: str, pipeline: str, params: Mapping[str, Any], window: Window, execution: str) -> str:
    return derive_id("later", 0, project, pipeline, canonical_json(dict(params)).decode(), window, execution)


def waiting(tx: Transaction, project: str, *, limit: int = 1000) -> list[Postponed]:
    """Those not started yet, by when they are due."""
    return [Postponed(**row) for row in store.postponements(tx, project, None, limit)]


def projects(tx: Transaction) -> list[str]:
    """The projects that have windows which are not started yet."""
    return store.projects_postponed(tx)


def start_due(
    database: Database,
    project: str,
    start: StartWindow,
    *,
    now: datetime,
    prepare: Callable[[Postponed], None] = lambda _: None,
) -> list[Postponed]:
    """Start those that are due, each in one transaction with its row, so that it is started once by whoever comes first. Each is told to
    `prepare` before.

    `start` begins the execution and gives its id. One that it refuses (any of our errors but `Unavailable`) is not started any more,
    and its row says why. Raises what else `start` raises, leaving that one due.
    """
    with database.reading() as tx:
        due = [Postponed(**row) for row in store.postponements(tx, project, utc(now), AT_ONCE)]
    started = []
    for one in due:
        prepare(one)
        with database.transaction() as tx:
            if store.take_postponed(tx, one.id, utc(now)):
                begun = _started(tx, one, start, now)
                store.change_postponed(tx, one.id, {"execution": begun.execution, "why": begun.why})
                started.append(msgspec.structs.replace(begun, started_at=utc(now)))
    return [one for one in started if one.execution is not None]


def _started(tx: Transaction, one: Postponed, start: StartWindow, now: datetime) -> Postponed:
    try:
        with tx.begin_nested():
            return msgspec.structs.replace(one, execution=start(tx, one, now))
    except Unavailable:
        raise
    except LooplineError as error:
        log.warning("window_refused", pipeline=one.pipeline, window=str(one.window), error=str(error))
        return msgspec.structs.replace(one, why=f"{one.why}; refused: {error.message} [{error.code}]")
