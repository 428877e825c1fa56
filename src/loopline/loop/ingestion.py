"""Ingestion: every source is called for the window of known time that it has not given yet. One that fails stops no other."""

import time
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import structlog

from loopline.errors import InvalidInput, LooplineError, Unavailable
from loopline.incidents.measures import QUARANTINE_SOURCE, measure
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.code import code_digest
from loopline.loop.declare import Loop
from loopline.loop.measured import measured
from loopline.loop.mishaps import note_mishap, note_recovery
from loopline.loop.pushes import pushed_rows
from loopline.loop.resources import Resources
from loopline.loop.source import Pushed, Source
from loopline.sources.crosswalk import nothing_held, resolve
from loopline.sources.pushed import any_pushed, forget
from loopline.sources.reader import Reading
from loopline.storage.database import Transaction
from loopline.tables.ingest import WRITER as INGEST_WRITER
from loopline.tables.ingest import Ingested, ingest, ingested
from loopline.values import Window, duration, from_micros, micros

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Intake:
    """What became of the rows of the sources that were asked, and the errors of those that failed, by table."""

    done: dict[str, Ingested] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)


def ingest_until(
    resources: Resources,
    loop: Loop,
    end: datetime,
    *,
    begin: datetime,
    at_leisure: bool = False,
    waits: Iterable[float] = (),
) -> dict[str, Ingested]:
    """Call each source for (what it has given until, `end`], its first time from `begin`; gives what became of the rows.

    With `at_leisure`, only sources that were last asked `every` ago or longer. A window that was ingested and not noted as such
    (the process died in between) is called again and written once. What fails is tried again after each of `waits`, in seconds. Raises
    the first error that is left, once all others were asked.
    """
    intake = ingest_each(resources, loop, end, begin=begin, at_leisure=at_leisure)
    for seconds in waits:
        if not intake.failed:
            break
        time.sleep(seconds)
        failed = set(intake.failed)
        again = ingest_each(resources, loop, end, begin=begin, asked=lambda source: source.table in failed)  # noqa: B023 - asked at once
        intake = Intake({**intake.done, **again.done}, again.failed)
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
    tables are `urgent` also before their time; none that a playbook quarantined.
    """
    intake, quarantined = Intake(), _quarantined(resources, loop)
    for source in loop.sources.values():
        if source.table in quarantined or not asked(source):
            continue
        _catch_up(resources, source)
        patience = _pace(loop, source) if at_leisure and source.table not in urgent else timedelta(0)
        window = _window(resources, source, end, begin=begin, patience=patience)
        if window is None:
            continue
        try:
            intake.done[source.table] = _ask(resources, source, window)
        except Exception as error:  # also whatever the user's code raises: the other sources must be asked
            intake.failed[source.table] = error
            _note_failure(resources, source, window, error)
    return intake


def tables_behind(loop: Loop, tables: Iterable[str]) -> set[str]:
    """The tables, and those of the crosswalks that their sources' ids are resolved by."""
    found: set[str] = set()
    waiting = list(tables)
    by_table = {source.table: source for source in loop.sources.values()}
    while waiting:
        table = waiting.pop()
        if table not in found:
            found.add(table)
            waiting += [one.table for one in by_table[table].identify] if table in by_table else []
    return found


def _quarantined(resources: Resources, loop: Loop) -> set[str]:
    """Tables whose sources a playbook quarantined."""
    with resources.database.reading() as tx:
        found = [measure(tx, loop.name, name, QUARANTINE_SOURCE) for name in loop.operations]
    return {table for one in found if one is not None for table in one.evidence["tables"]}


def _pace(loop: Loop, source: Source) -> timedelta:
    """How often the source is asked: a crosswalk's as often as the sources that wait for it."""
    waiting = [other for other in loop.sources.values() if any(one.table == source.table for one in other.identify)]
    return min([duration(source.every), *(_pace(loop, other) for other in waiting)])


def _catch_up(resources: Resources, source: Source) -> None:
    """Note the window that the table has and the control state does not: the process died between the two."""
    if not resources.tables.exists(source.table):
        return
    table = resources.tables.open(source.table)
    last = table.sequence(INGEST_WRITER)
    with resources.database.reading() as tx:
        noted = store.ingested_until(tx, source.table)
    if last is None or (noted is not None and from_micros(last) <= noted):
        return
    version = table.find(INGEST_WRITER, last)
    if version is None:
        return
    window = Window(datetime.fromisoformat(version.provenance["window_start"]), from_micros(last))
    done = ingested(resources.tables, source.spec, window)
    if done is not None:
        _note(resources, source, window, done, seconds=0.0)


def _window(
    resources: Resources, source: Source, end: datetime, *, begin: datetime, patience: timedelta
) -> Window | None:
    """What the source is to be asked for; None where it is not its time, or where nothing was pushed.

    Where ids are to be resolved, no further than what their crosswalks were asked for.
    """
    until = end - duration(source.settle)
    with resources.database.reading() as tx:
        start = store.ingested_until(tx, source.table) or begin - duration(source.settle)
        for one in source.identify:
            until = min(until, store.ingested_until(tx, one.table) or start)
        if start >= until or until - start < patience:
            return None
        idle = isinstance(source.function, Pushed) and source.function.history is None
        if patience and idle and not any_pushed(tx, source.table, Window(start, until)):
            return None
    return Window(start, until)


def _ask(resources: Resources, source: Source, window: Window) -> Ingested:
    seconds: dict[str, float] = {}
    with measured(seconds, "ask"):
        done = _ingest_window(resources, source, window)
    _note(resources, source, window, done, seconds=seconds["ask"])
    return done


def _note(resources: Resources, source: Source, window: Window, done: Ingested, *, seconds: float) -> None:
    """That the window is in the table: what it was kept for elsewhere is kept no more."""
    with resources.database.transaction() as tx:
        before = store.last_asked(tx, source.table)
        if before is not None and before["failures"]:
            note_recovery(tx, step=_step(source), work=_work(source, window), at=resources.clock.now())
        store.set_ingested(tx, source.table, since=window.start, until=window.end)
        told = {"rows": done.rows, "quarantined": done.quarantined, "code": None, "error": None, "failures": 0}
        store.put_asked(tx, _asked_row(resources, source, window, seconds) | told)
        _record_changes(tx, source, window, done)
        if isinstance(source.function, Pushed):
            forget(tx, source.table, window.end)


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
        if store.ingested_until(tx, source.table) is None:
            # From here on it is asked when it is back, however long it is away.
            store.set_ingested(tx, source.table, since=window.start, until=window.start)
        before = store.last_asked(tx, source.table)
        failures = (before["failures"] if before else 0) + 1
        note_mishap(
            tx,
            loop=source.loop,
            step=_step(source),
            work=_work(source, window),
            attempt=failures,
            error=error,
            source=source.table,
            at=resources.clock.now(),
        )
        told = {"rows": 0, "quarantined": 0, "code": code, "error": str(error), "failures": failures}
        store.put_asked(tx, _asked_row(resources, source, window, 0.0) | told)


def _step(source: Source) -> str:
    return f"ingest {source.table}"


def _work(source: Source, window: Window) -> str:
    """What a source has not given begins where it gave last, however often it is asked."""
    return f"{source.table}@{micros(window.start)}"


def _asked_row(resources: Resources, source: Source, window: Window, seconds: float) -> dict[str, Any]:
    return {"source": source.table, "at": resources.clock.now(), "until": window.end, "seconds": seconds}


def _ingest_window(resources: Resources, source: Source, window: Window) -> Ingested:
    frame, reasons = identified(resources, source, ask(resources, source, window), window)
    told = _provenance(source, window)
    return ingest(resources.tables, source.spec, frame, window, provenance=told, reasons=reasons)


def identified(
    resources: Resources | None, source: Source, frame: pl.DataFrame, window: Window
) -> tuple[pl.DataFrame, pl.Series | None]:
    """The rows with their ids resolved, and for each the reason to quarantine it where an id has no identity, else null."""
    if not source.identify or frame.is_empty():
        return frame, None
    reasons = pl.Series("_reason", [None] * frame.height, dtype=pl.String)
    for one in source.identify:
        known = resources is not None and resources.tables.exists(one.table)
        held = nothing_held(one.to)
        if resources is not None and known and one.to in (table := resources.tables.open(one.table)).schema.columns:
            held = table.read(known_until=window.end)
        frame, unresolved = resolve(frame, one, held, known_at=source.spec.known_at)
        if one.unresolved == "quarantine":
            reason = pl.Series([f"unresolved:{one.into}"] * frame.height, dtype=pl.String)
            reasons = reasons.zip_with(~unresolved | reasons.is_not_null(), reason)
    return frame, reasons


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
        if isinstance(source.function, Pushed):
            return pushed_rows(resources, source, window)
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
