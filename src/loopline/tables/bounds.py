"""Which rows a read is for, and which files may hold them."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from loopline.tables.datafile import DataFile, Span
from loopline.values import utc


@dataclass(frozen=True)
class Bounds:
    """The rows with `_known_at` in (known_after, known_until] and `_event_time` in (event_after, event_until]; None is open."""

    known_after: datetime | None = None
    known_until: datetime | None = None
    event_after: datetime | None = None
    event_until: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("known_after", "known_until", "event_after", "event_until"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else utc(value))

    def may_hold(self, file: DataFile) -> bool:
        """Whether rows of `file` may lie inside, going by its statistics."""
        return _overlaps(file.known, self.known_after, self.known_until) and _overlaps(
            file.event, self.event_after, self.event_until
        )

    def predicates(self) -> list[pl.Expr]:
        """The bounds as Polars expressions."""
        known, event = pl.col("_known_at"), pl.col("_event_time")
        return [
            *([] if self.known_after is None else [known > self.known_after]),
            *([] if self.known_until is None else [known <= self.known_until]),
            *([] if self.event_after is None else [event > self.event_after]),
            *([] if self.event_until is None else [event <= self.event_until]),
        ]


def _overlaps(span: Span, after: datetime | None, until: datetime | None) -> bool:
    if span is None:
        return True
    least, greatest = span
    return (after is None or greatest > after) and (until is None or least <= until)
