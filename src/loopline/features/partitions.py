"""A long history, read part by part: each part holds what can matter to some of the entities."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from loopline.features.entities import entity_names
from loopline.features.history import EVENT, KEY, KNOWN, ROW, superseded
from loopline.features.intervals import FOREVER, Ints


@dataclass(frozen=True)
class LongHistory:
    """A history as queries between `first` and `last` can see it: the `versions` known by then, with their number `_row`
    in the whole, and those of them that were `corrected`: `_row`, `until` (microseconds).
    """

    versions: pl.LazyFrame
    corrected: pl.DataFrame
    first: datetime
    last: datetime

    @classmethod
    def seen(cls, past: pl.LazyFrame, first: datetime, last: datetime, partitions: int) -> "LongHistory":
        """Look for corrections, going through the keys part by part."""
        versions = past.with_row_index(ROW).filter(pl.col(KNOWN) <= last)
        corrected = [_corrections(versions, part, partitions) for part in range(partitions)]
        return cls(versions, pl.concat(corrected), first, last)

    def of(self, by: str, entities: pl.Series, age: timedelta | None) -> tuple[pl.DataFrame, Ints]:
        """The rows of these entities that can matter, none older than `age`, and until when each is valid."""
        wanted = _among(self.versions, by, entities) & (pl.col(EVENT) <= self.last)
        if age is not None:
            wanted &= pl.col(EVENT) > self.first - age
        rows = self.versions.filter(wanted).collect(engine="streaming").sort(ROW)
        until = rows.select(ROW).join(self.corrected, on=ROW, how="left", maintain_order="left")["until"]
        return rows, until.fill_null(FOREVER).to_numpy()


def deal(entities: pl.Series, partitions: int) -> Iterator[Ints]:
    """The places of the entities that each part holds, leaving out empty parts: equal entities go to one part."""
    hands = (entity_names(entities).hash() % partitions).to_numpy()
    for part in np.unique(hands):
        yield np.flatnonzero(hands == part)


def _corrections(versions: pl.LazyFrame, part: int, partitions: int) -> pl.DataFrame:
    in_part = versions.select(KEY, KNOWN, ROW).filter(pl.col(KEY).hash() % partitions == part)
    rows = in_part.collect(engine="streaming")
    return superseded(rows.filter(rows[KEY].hash().is_duplicated()))


def _among(versions: pl.LazyFrame, by: str, entities: pl.Series) -> pl.Expr:
    """Whether a row belongs to one of the entities, compared as they are where types agree, otherwise as text."""
    if versions.collect_schema()[by] == entities.dtype:
        return pl.col(by).is_in(entities.unique().implode())
    return pl.col(by).cast(pl.String).is_in(entity_names(entities).unique().implode())
