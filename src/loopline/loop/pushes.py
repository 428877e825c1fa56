"""Sources without a function: their rows are pushed, and ingested like any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from loopline.loop.declare import Loop
from loopline.loop.resources import Resources
from loopline.loop.source import Pushed, Source
from loopline.sources.pushed import PushedRow, Received, collect, judge, receive, refuse_unfit
from loopline.tables.source import SourceSpec
from loopline.values import Window


@dataclass(frozen=True)
class Intakes:
    """The sources that rows may be pushed to, by project and name."""

    specs: Mapping[tuple[str, str], SourceSpec]

    @classmethod
    def of(cls, loop: Loop) -> "Intakes":
        """Those of one loop."""
        pushed = {name: one for name, one in loop.sources.items() if isinstance(one.function, Pushed)}
        return cls({(loop.name, name): one.spec for name, one in pushed.items()})


def push_rows(
    resources: Resources, spec: SourceSpec, rows: Sequence[PushedRow], *, key: str | None, actor: str
) -> Received:
    """Keep rows for the next ingestion, and say what will become of them. Answered, they survive what the database survives.

    Raises `InvalidInput` "push.known_at_given", `Conflict` "push.key_reused".
    """
    refuse_unfit(spec, rows)
    at = resources.clock.now()
    kept, reasons = judge(resources.tables, spec, rows, at)
    with resources.database.transaction() as tx:
        return receive(tx, spec, rows, kept=kept, reasons=reasons, key=key, actor=actor, at=at)


def pushed_rows(resources: Resources | None, source: Source, window: Window) -> pl.DataFrame:
    """What was pushed to the source in the window, after what its `history` gives for it."""
    frames: list[Any] = []
    if isinstance(source.function, Pushed) and source.function.history is not None:
        frames.append(source.function.history(window))
    if resources is not None:
        with resources.database.transaction() as tx:
            frames.append(collect(tx, source.spec, window))
    given = [frame for frame in frames if not isinstance(frame, pl.DataFrame) or frame.height]
    if len(given) == 1:
        return given[0]  # type: ignore[no-any-return]  # what a function gives is looked at by its caller
    return pl.concat(given, how="diagonal_relaxed") if given else pl.DataFrame()
