"""Back-fill: an execution for each window of a span of time, each submitted once."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from loopline.errors import InvalidInput
from loopline.pipelines.declare import Pipeline
from loopline.pipelines.engine import Engine
from loopline.pipelines.executions import key_for, submit
from loopline.pipelines.params import window_param
from loopline.pipelines.planning import plan
from loopline.storage.database import Database
from loopline.values import Window

_MOST = 100_000


class Filled(msgspec.Struct, frozen=True):
    """The execution of one window, and whether it was submitted now."""

    window: tuple[datetime, datetime]
    execution: str
    new: bool


def windows(start: datetime, end: datetime, every: timedelta) -> Iterator[Window]:
    """Windows of that length from `start`; the last one ends at `end` and may be shorter.

    Raises `InvalidInput` "backfill.too_many".
    """
    if (end - start) / every > _MOST:
        raise InvalidInput(
            "backfill.too_many",
            f"there are more than {_MOST} windows from {start} to {end}",
            remedy="Give longer windows.",
        )
    while start < end:
        yield Window(start, min(start + every, end))
        start += every


def backfill(
    database: Database,
    engine: Engine,
    pipeline: Pipeline,
    params: Mapping[str, Any],
    over: Iterator[Window],
    *,
    by: str = "",
    priority: int = -1,
) -> Iterator[Filled]:
    """Submit an execution for each window, unless the pipeline has one for that window and these params. They go after other work by default.

    Each is committed on its own, so that a back-fill that was interrupted goes on when it is asked for again. Raises `InvalidInput` "backfill.no_window".
    """
    name = window_param(pipeline)
    if name is None:
        raise InvalidInput(
            "backfill.no_window",
            f"{pipeline.name} takes no window",
            remedy="Annotate one of its parameters with ll.Window.",
        )
    for window in over:
        planned = plan(pipeline, {**params, name: window}, engine.artifacts)
        with database.transaction() as tx:
            key = key_for(window, planned.params)
            execution, new = submit(tx, engine, planned, key=key, origin="backfill", by=by, priority=priority)
        yield Filled((window.start, window.end), execution, new)
