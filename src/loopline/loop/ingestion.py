"""Ingestion: every source is called for the window of known time that it has not given yet. One that fails stops no other."""

import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import structlog

from loopline.errors import InvalidInput, LooplineError, Unavailable
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.code import code_digest
from loopline.loop.declare import Loop
from loopline.loop.measured import measured
from loopline.loop.resources import Resources
from loopline.loop.source import Source
from loopline.sources.reader import Reading
from loopline.storage.database import Transaction
from loopline.tables.ingest import Ingested, ingest
from loopline.values import Window, duration, micros

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Intake:
    """What became of the rows of the sources that were asked, and the errors of those that failed, by table."""

    done: dict[str, Ingested] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)


def ingest_until(
    resources: Resources, loop: Loop, end: datetime, *, begin: datetime, at_leisure: bool = False
) -> dict[str, Ingested]:
    """Call each source for (what it has given until, `end`], its first time from `begin`; gives what became of the rows.

    With `at_leisure`, only sources that were last asked `every` ago or longer. A window that was ingested and not noted as such
    (the process died in between) is called again and written once. Raises the first error, once all others were asked.
    """
    intake = ingest_each(resources, loop, end, begin=begin, at_leisure=at_leisure)
    for error in intake.failed.values():
        raise error
    return intake.done


def ingest_each(
    resources: Resources,
    loop: Loop,
    end: datetime,
    *,
    begin: datetime,
    at_leisure: bool = False,
    urgent: Collection[str] = (),
    asked: Callable[[Source], bool] = lambda _source: True,
) -> Intake:
    """As `ingest_until`, but errors are given, noted and logged. Only sources for which `asked` holds are called; those whose
    tables are `urgent` also before their time.
    """
    intake = Intake()
    for source in loop.sources.values():
        leisurely = at_leisure and source.table not in urgent
        window = _window(resources, source, end, begin=begin, at_leisure=leisurely) if asked(source) else None
        if window is None:
            continue
        try:
            intake.done[source.table] = _ask(resources, source, window)
        except Exception as error:  # also whatever the user's code raises: the other sources must be asked
            intake.failed[source.table] = error
            _note_failure(resources, source, window, error)
    return intake


def _window(resources: Resources, source: Source, end: datetime, *, begin: datetime, at_leisure: bool) -> Window | None:
    """What the source is to be asked for; None where it is not its time."""
    until = end - duration(source.settle)
    with resources.database.reading() as tx:
        start = store.ingested_until(tx, source.table) or begin - duration(source.settle)
    patience = duration(source.every) if at_leisure else timedelta(0)
    return None if start >= until or until - start < patience else Window(start, until)


def _ask(resources: Resources, source: Source, window: Window) -> Ingested:
    seconds: dict[str, float] = {}
    with measured(seconds, "ask"):
        done = _ingest_window(resources, source, window)
    with resources.database.transaction() as tx:
        store.set_ingested(tx, source.table, since=window.start, until=window.end)
        told = {"rows": done.rows, "quarantined": done.quarantined, "code": None, "error": None, "failures": 0}
        store.put_asked(tx, _asked_row(resources, source, window, seconds.get("ask", 0.0)) | told)
        _record_changes(tx, source, window, done)
    return done


def _record_changes(tx: Transaction, source: Source, window: Window, done: Ingested) -> None:
    """What changed the table goes into the ledger; what was ignored or quarantined stands in the version's provenance."""
    changed = [
        change.plain() for change in done.changes if change.rule == "accept" and change.kind in {"added", "widened"}
    ]
    if changed:
        chain.append(
            tx,
            project=source.loop,
            at=window.end,
            kind="source.evolved",
            actor="loop",
            subject=source.table,
            body={"changes": changed, "version": done.version},
            key=f"evolved:{source.table}:{micros(window.end)}",
        )


def _note_failure(resources: Resources, source: Source, window: Window, error: Exception) -> None:
    code = error.code if isinstance(error, LooplineError) else "source.failed"
    log.error("source_failed", source=source.table, window=str(window), code=code, error=str(error))
    with resources.database.transaction() as tx:
        before = store.last_asked(tx, source.table)
        failures = (before["failures"] if before else 0) + 1
        told = {"rows": 0, "quarantined": 0, "code": code, "error": str(error), "failures": failures}
        store.put_asked(tx, _asked_row(resources, source, window, 0.0) | told)


def _asked_row(resources: Resources, source: Source, window: Window, seconds: float) -> dict[str, Any]:
    return {"source": source.table, "at": resources.clock.now(), "until": window.end, "seconds": seconds}


def _ingest_window(resources: Resources, source: Source, window: Window) -> Ingested:
    frame = ask(resources, source, window)
    return ingest(resources.tables, source.spec, frame, window, provenance=_provenance(source, window))


def ask(resources: Resources | None, source: Source, window: Window) -> pl.DataFrame:
    """What the source gives for the window; nothing is kept. With `resources`, text is read as what its table holds.

    Raises `Unavailable` "source.failed" for whatever a function raises, `InvalidInput` "source.no_frame", and what readers raise.
    """
    frame = _asked(resources, source, window)
    if not isinstance(frame, pl.DataFrame):
        raise InvalidInput(
            "source.no_frame",
            f"source {source.table} returned {type(frame).__name__} for {window}",
            remedy="Return a polars.DataFrame; for no rows, an empty one.",
        )
    return frame


def _asked(resources: Resources | None, source: Source, window: Window) -> object:
    try:
        if isinstance(source.function, Reading) and resources and resources.tables.exists(source.table):
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
    said = "what it says is withheld, it may quote rows about persons" if source.spec.guarded_columns else str(error)
    return Unavailable(
        "source.failed",
        f"source {source.table} failed for {window}: {type(error).__name__}: {said}",
        remedy=f"Look at {frames[-1].filename}:{frames[-1].lineno}. Nothing of this window was kept; it is asked for again.",
    )


def _provenance(source: Source, window: Window) -> dict[str, Any]:
    return {
        "source": source.table,
        "window": [window.start.isoformat(), window.end.isoformat()],
        "code": code_digest(source.function),
    }
