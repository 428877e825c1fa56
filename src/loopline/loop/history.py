"""What the tables hold, kept in memory and read on as they grow."""

import threading
from datetime import datetime

import polars as pl

from loopline.tables.tables import Tables

MOST_CHUNKS = 32


class History:
    """The rows of tables as known at a moment that mostly moves on. Share it between threads.

    What was read is dropped where rows were erased since.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._lock = threading.Lock()
        self._until: dict[str, datetime] = {}
        self._frames: dict[str, pl.DataFrame] = {}
        self._erasures: dict[str, int] = {}

    def known(self, table: str, until: datetime) -> pl.DataFrame:
        """All rows known by `until`, oldest append first; an unknown table raises `NotFound`."""
        with self._lock:
            self._read_on(table, until)
            frame, reached = self._frames[table], self._until[table]
        return frame if reached == until else frame.filter(pl.col("_known_at") <= until)

    def all_known(self, tables: tuple[str, ...], until: datetime) -> dict[str, pl.DataFrame]:
        """`known` for several tables."""
        return {table: self.known(table, until) for table in tables}

    def _read_on(self, table: str, until: datetime) -> None:
        opened = self._tables.open(table)
        erasures = len(opened.erasures)
        if self._erasures.setdefault(table, erasures) != erasures:
            self._erasures[table] = erasures
            self._until.pop(table, None)
        before = self._until.get(table)
        if before is not None and until <= before:
            return
        # Where a table was kept from an erasure, what is held of the person is not worked with.
        added = opened.without_erased(opened.read(known_after=before, known_until=until))
        if before is None:
            self._frames[table] = added
        elif added.height:
            grown = pl.concat([self._frames[table], added], how="diagonal_relaxed")
            self._frames[table] = grown.rechunk() if grown.n_chunks() > MOST_CHUNKS else grown
        self._until[table] = until
