"""Scores into a table of the home: data files that the log does not name yet, then one entry that names them all."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from loopline.errors import Conflict, InvalidInput
from loopline.scoring.batch.destination import Committed
from loopline.scoring.feature_columns import filed
from loopline.scoring.record import COLUMNS
from loopline.tables import quarantine
from loopline.tables.schema import SYSTEM_COLUMNS, UTC_TIME, TableSchema
from loopline.tables.table import Table
from loopline.tables.tables import Tables

_SEQUENCE = 0


@dataclass
class TableDestination:
    """The table `name`, made with the first part; refused rows go to its quarantine. `tag` is called when either was made or grew.

    Raises `Conflict` "batch.not_scores" for a table that holds other rows.
    """

    tables: Tables
    name: str
    scored_at: datetime
    personal: bool
    tag: Callable[[], None]
    _known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not self.tables.exists(self.name):
            return
        lacks = [column for column in COLUMNS if column not in self.tables.open(self.name).schema.columns]
        if lacks or self.name.endswith(quarantine.SUFFIX):
            raise Conflict(
                "batch.not_scores",
                f"the table {self.name!r} holds other rows than scores",
                remedy="Give --into the name of a table that is not there yet, or one that holds scores.",
            )

    def committed(self, writer: str) -> Committed | None:
        """As the table's log says."""
        found = self.tables.open(self.name).find(writer, _SEQUENCE) if self.tables.exists(self.name) else None
        return None if found is None else Committed(self.name, found.rows, found.version)

    def write(self, writer: str, part: int, records: pl.DataFrame) -> list[str]:
        """The files of one part; the table has gained the columns it lacked."""
        if records.is_empty():
            return []
        before = self.tables.open(self.name).schema if self.tables.exists(self.name) else TableSchema()
        rows = filed(records, before.columns)
        added = {name: dtype for name, dtype in rows.schema.items() if name not in {*before.columns, *SYSTEM_COLUMNS}}
        table = self._made(self.name, before.widened(added))
        absent = [name for name in table.schema.columns if name not in rows.columns]
        whole = rows.with_columns(pl.lit(None, dtype=table.schema.columns[name]).alias(name) for name in absent)
        return table.stage(whole, f"{writer}\x00{part}")

    def set_aside(self, writer: str, part: int, refused: pl.DataFrame) -> list[str]:
        """Into the quarantine: known when the others were scored, which is its window."""
        if refused.is_empty():
            return []
        rows = refused.select(
            pl.col("_key").fill_null(""),
            pl.col("_event_time").fill_null(self.scored_at),
            pl.lit(self.scored_at, UTC_TIME).alias("_known_at"),
            pl.lit(value=False).alias("_tombstone"),
            "_reason",
            pl.lit(self.scored_at, UTC_TIME).alias("_window_start"),
            pl.lit(self.scored_at, UTC_TIME).alias("_window_end"),
            "row",
        )
        table = self._made(self.name + quarantine.SUFFIX, quarantine.schema(personal=self.personal))
        return table.stage(rows, f"{writer}\x00{part}")

    def commit(
        self, writer: str, files: Iterable[str], aside: Iterable[str], provenance: Mapping[str, Any]
    ) -> Committed:
        """The quarantine first: once the scores are there, all is."""
        put_aside = list(aside)
        if put_aside:
            table = self.tables.open(self.name + quarantine.SUFFIX)
            table.append_staged(put_aside, writer=writer, sequence=_SEQUENCE, provenance=provenance)
        if not self.tables.exists(self.name):
            raise InvalidInput(
                "batch.nothing_scored",
                "no row of the input can be scored",
                remedy=f"See why in the quarantine: `loopline tables {self.name}{quarantine.SUFFIX} --rows 20`.",
            )
        table = self.tables.open(self.name)
        done = table.append_staged(files, writer=writer, sequence=_SEQUENCE, provenance=provenance)
        return Committed(self.name, done.rows, done.version)

    def discard(self, files: Iterable[str], aside: Iterable[str]) -> None:
        """Of both tables, as far as they are there."""
        for name, gone in ((self.name, files), (self.name + quarantine.SUFFIX, aside)):
            if self.tables.exists(name):
                self.tables.open(name).unstage(gone)

    def _made(self, name: str, schema: TableSchema) -> Table:
        present = self.tables.open(name).schema if self.tables.exists(name) else None
        if present is not None and set(schema.columns) <= set(present.columns):
            if name not in self._known:
                self._known.add(name)
                self.tag()
            return self.tables.open(name)
        self.tables.create(name, schema if present is None else present.widened(schema.columns))
        self._known.add(name)
        self.tag()
        return self.tables.open(name)
