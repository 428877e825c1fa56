"""Where scores go: written part by part, and visible all at once."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec
import polars as pl


class Committed(msgspec.Struct, frozen=True):
    """What became visible: `into` names the table or file, `version` is the table's, None for a file."""

    into: str
    rows: int
    version: int | None = None


class Destination(Protocol):
    """What is written has no effect until `commit`; writing or committing the same again changes nothing."""

    def committed(self, writer: str) -> Committed | None:
        """What `writer` committed before, if it did."""
        ...

    def write(self, writer: str, part: int, records: pl.DataFrame) -> list[str]:
        """Write the records of one part; the names of the files that hold them, durable."""
        ...

    def set_aside(self, writer: str, part: int, refused: pl.DataFrame) -> list[str]:
        """The same for rows that are not scored: `_key`, `_event_time`, `_reason` and `row`, their content as JSON."""
        ...

    def commit(
        self, writer: str, files: Iterable[str], aside: Iterable[str], provenance: Mapping[str, Any]
    ) -> Committed:
        """Make all of it visible."""
        ...

    def discard(self, files: Iterable[str], aside: Iterable[str]) -> None:
        """Remove what was written and will not be committed."""
        ...
