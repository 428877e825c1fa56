"""Windows that were skipped, and are executed again when their time has come."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from loopline.pipelines.healing import store
from loopline.pipelines.healing.remedies import SkipWindow
from loopline.storage.database import Database, Transaction, lock
from loopline.values import Window, canonical_json, derive_id, duration, utc

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
        id=derive_id("later", 0, project, pipeline, canonical_json(dict(params)).decode(), window, execution),
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


def waiting(tx: Transaction, project: str, *, limit: int = 1000) -> list[Postponed]:
    """Those not started yet, by when they are due."""
    return [Postponed(**row) for row in store.postponements(tx, project, None, limit)]


def projects(tx: Transaction) -> list[str]:
    """Those that windows wait in."""
    return store.postponed_projects(tx)


def start_due(database: Database, project: str, start: StartWindow, *, now: datetime) -> list[Postponed]:
    """Start those that are due, each in one transaction with its row, so that it is started once by whoever comes first.

    `start` begins the execution and gives its id. Raises what `start` raises, leaving that one due.
    """
    with database.reading() as tx:
        due = [Postponed(**row) for row in store.postponements(tx, project, utc(now), AT_ONCE)]
    started = []
    for one in due:
        with database.transaction() as tx:
            if store.take_postponed(tx, one.id, utc(now)):
                execution = start(tx, one, now)
                store.change_postponed(tx, one.id, {"execution": execution})
                started.append(msgspec.structs.replace(one, execution=execution, started_at=utc(now)))
    return started
