"""Ingestion: every source is called for the window of known time that it has not given yet."""

import traceback
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from loopline.errors import InvalidInput, Unavailable
from loopline.loop import store
from loopline.loop.declare import Loop, Source
from loopline.loop.describe import code_digest
from loopline.loop.resources import Resources
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
    frame = _asked(source, window)
    if not isinstance(frame, pl.DataFrame):
        raise InvalidInput(
            "source.no_frame",
            f"source {source.table} returned {type(frame).__name__} for {window}",
            remedy="Return a polars.DataFrame; for no rows, an empty one.",
        )
    return ingest(resources.tables, source.spec, frame, window, provenance=_provenance(source, window))


def _asked(source: Source, window: Window) -> object:
    try:
        return source.function(window)
    except Exception as error:  # whatever the user's code raises: say which source, which window and which line
        frames = traceback.extract_tb(error.__traceback__)
        raise Unavailable(
            "source.failed",
            f"source {source.table} failed for {window}: {type(error).__name__}: {error}",
            remedy=f"Look at {frames[-1].filename}:{frames[-1].lineno}. Nothing of this window was kept; it is asked for again.",
        ) from error


def _provenance(source: Source, window: Window) -> dict[str, Any]:
    return {
        "source": source.table,
        "window": [window.start.isoformat(), window.end.isoformat()],
        "code": code_digest(source.function),
    }
