"""A probe: each source is really asked for a small window, and nothing is kept."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import polars as pl

from loopline.errors import InvalidInput, LooplineError
from loopline.loop.declare import Loop
from loopline.loop.ingestion import ask, identified
from loopline.loop.measured import measured
from loopline.loop.resources import Resources
from loopline.loop.source import Pushed, Source
from loopline.tables.ingest import rehearse
from loopline.values import Window


class Probed(msgspec.Struct, frozen=True):
    """What a source gave: its rows and what would become of them, in how many seconds, or the error and what to do about it."""

    source: str
    ok: bool
    seconds: float
    rows: int = 0
    quarantined: int = 0
    reasons: dict[str, int] = {}
    newest: datetime | None = None
    code: str | None = None
    error: str | None = None
    remedy: str | None = None


def probe(loop: Loop, window: Window, *, resources: Resources | None = None, only: Sequence[str] = ()) -> list[Probed]:
    """Ask each source of the loop, or `only` those, for the window. With `resources` its rows are held against its table.

    Raises `InvalidInput` "probe.unknown_source".
    """
    unknown = [name for name in only if name not in loop.sources]
    if unknown:
        raise InvalidInput(
            "probe.unknown_source",
            f"{loop.name} has no source {', '.join(unknown)}",
            remedy=f"It has: {', '.join(loop.sources) or 'none'}.",
        )
    chosen = [source for name, source in loop.sources.items() if not only or name in only]
    return [_probe(source, window, resources) for source in chosen]


def _probe(source: Source, window: Window, resources: Resources | None) -> Probed:
    seconds: dict[str, float] = {}
    name = source.table.split(".", 1)[1]
    try:
        with measured(seconds, "ask"):
            frame, reasons = identified(resources, source, _given(resources, source, window), window)
            tables = resources.tables if resources else None
            checked = rehearse(tables, source.spec, frame, window, reasons=reasons)
    except Exception as error:  # whatever is wrong with one source, the others are to be tried
        return _failed(name, round(seconds["ask"], 3), error)
    return Probed(
        source=name,
        ok=True,
        seconds=round(seconds["ask"], 3),
        rows=checked.good.height,
        quarantined=checked.bad.height,
        reasons=checked.reasons(),
        newest=checked.good["_known_at"].max() if checked.good.height else None,  # type: ignore[arg-type]
    )


def _given(resources: Resources | None, source: Source, window: Window) -> pl.DataFrame:
    """What was pushed stays where it is: asking for it would close its window."""
    return ask(None if isinstance(source.function, Pushed) else resources, source, window)


def _failed(name: str, seconds: float, error: Exception) -> Probed:
    if isinstance(error, LooplineError):
        return Probed(name, ok=False, seconds=seconds, code=error.code, error=error.message, remedy=error.remedy)
    told, remedy = f"{type(error).__name__}: {error}", "Look at what the source returns: its columns and their dtypes."
    return Probed(name, ok=False, seconds=seconds, code="source.failed", error=told, remedy=remedy)
