"""Ingestion: every source is called for the window of known time that it has not given yet."""

import traceback
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from loopline.errors import InvalidInput, LooplineError, Unavailable
from loopline.loop import store
from loopline.loop.declare import Loop
from loopline.loop.describe import code_digest
from loopline.loop.resources import Resources
from loopline.loop.source import Source
from loopline.sources.reader import Reading
from loopline.tables.ingest import Ingested, ingest
from loopline.values import Window, duration


def ingest_until(
    resources: Resources, loop: Loop, end: datetime, *, begin: datetime, at_leisure: bool = False
) -> dict[str, Ingested]:
    """Call each source for (what it has given until, `end`], its first time from `begin`; gives what became of the rows.

    With `at_leisure`, only sources that were last asked `every` ago or longer. A window that was ingested and not noted as such (the process died in between) is called again and written once.
    """
    done = {}
    for source in loop.sources.values():
        with resources.database.reading() as tx:
            start = store.ingested_until(tx, source.table) or begin
        patience = duration(source.every) if at_leisure else timedelta(0)
        if start >= end or end - start < patience:
            continue
        done[source.table] = _ingest_window(resources, source, Window(start, end))
        with resources.database.transaction() as tx:
            store.set_ingested(tx, source.table, since=start, until=end)
    return done


def _ingest_window(resources: Resources, source: Source, window: Window) -> Ingested:
    frame = _asked(resources, source, window)
    if not isinstance(frame, pl.DataFrame):
        raise InvalidInput(
            "source.no_frame",
            f"source {source.table} returned {type(frame).__name__} for {window}",
            remedy="Return a polars.DataFrame; for no rows, an empty one.",
        )
    return ingest(resources.tables, source.spec, frame, window, provenance=_provenance(source, window))


def _asked(resources: Resources, source: Source, window: Window) -> object:
    try:
        if isinstance(source.function, Reading) and resources.tables.exists(source.table):
            return source.function.given(window, resources.tables.open(source.table).schema.columns)
        return source.function(window)
    except LooplineError as error:
        if isinstance(source.function, Reading):
            raise  # what our own readers raise says what to do
        raise _failed(source, window, error) from error
    except Exception as error:  # whatever the user's code raises: say which source, which window and which line
        raise _failed(source, window, error) from error


def _failed(source: Source, window: Window, error: Exception) -> Unavailable:
    frames = traceback.extract_tb(error.__traceback__)
    return Unavailable(
        "source.failed",
        f"source {source.table} failed for {window}: {type(error).__name__}: {error}",
        remedy=f"Look at {frames[-1].filename}:{frames[-1].lineno}. Nothing of this window was kept; it is asked for again.",
    )


def _provenance(source: Source, window: Window) -> dict[str, Any]:
    return {
        "source": source.table,
        "window": [window.start.isoformat(), window.end.isoformat()],
        "code": code_digest(source.function),
    }
