"""Inputs that are read once and whole, in portions: files, a version of a table, the rows of a query.

An input is pinned before it is read: its pin says exactly which rows they are, so that another reading can be told from this one.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import polars as pl

from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.sources.files import Format, format_of, paths_of
from loopline.sources.query import frame_of
from loopline.storage import foreign
from loopline.storage.out_of_core import newest_rows
from loopline.tables.schema import TableSchema
from loopline.tables.tables import Tables
from loopline.values import canonical_json, digest

_BLOCK = 1 << 20
_DUCKDB = {pl.String(): "VARCHAR", pl.Boolean(): "BOOLEAN", pl.Int64(): "BIGINT", pl.Date(): "DATE"}


class Pin(msgspec.Struct, frozen=True):
    """Which rows an input holds: `said` is JSON, equal for equal rows. `kind` is that of the input."""

    kind: Literal["files", "table", "query"]
    said: dict[str, Any]

    @property
    def digest(self) -> str:
        """The digest of what is said."""
        return digest(canonical_json([self.kind, self.said]))


class Input(Protocol):
    """Rows that are read once. `text` says that all columns are text, as CSV has them; `named` how a person called it."""

    @property
    def text(self) -> bool: ...

    @property
    def named(self) -> str: ...

    def pin(self) -> Pin | None:
        """The pin, where it can be had without reading all rows; a query's cannot."""
        ...

    def batches(self, rows: int, scratch: Path, columns: Collection[str] | None) -> Iterator[pl.DataFrame]:
        """The rows in their order, at most `rows` at a time; of `columns` (None: all) those that are there. `scratch` is an empty folder."""
        ...


@dataclass(frozen=True)
class WholeFiles:
    """Parquet, CSV or JSON lines: one file, or all that match a pattern, in the order of their paths.

    A pin holds names, sizes and SHA-256. `nulls` are further texts of CSV that mean no value. Raises `NotFound` "source.no_file".
    """

    pattern: str
    nulls: tuple[str, ...] = ()
    separator: str | None = None
    format: Format | None = None

    @property
    def named(self) -> str:
        """The pattern."""
        return self.pattern

    @cached_property
    def paths(self) -> list[Path]:
        """The files, sorted."""
        found = sorted({path for path in map(Path, paths_of(self.pattern)) if path.is_file()})
        if not found:
            raise NotFound("source.no_match", f"no file matches {self.pattern}", remedy="Check the pattern.")
        return found

    @cached_property
    def kind(self) -> Format:
        """The one format of all files. Raises `InvalidInput` "source.mixed_formats"."""
        kinds = {format_of(path, self.format) for path in self.paths}
        if len(kinds) > 1:
            raise InvalidInput(
                "source.mixed_formats",
                f"{self.pattern} has files of several formats: {', '.join(sorted(kinds))}",
                remedy="Name files of one format.",
            )
        return kinds.pop()

    @property
    def text(self) -> bool:
        """Whether it is CSV."""
        return self.kind == "csv"

    def pin(self) -> Pin:
        """Every file's name, size and digest."""
        _ = self._marks
        return Pin("files", {"files": [_file(path) for path in self.paths], "nulls": list(self.nulls)})

    def batches(self, rows: int, scratch: Path, columns: Collection[str] | None) -> Iterator[pl.DataFrame]:  # noqa: ARG002 - as the others
        """One file after the other. Raises `InvalidInput` "source.unreadable_input", `Conflict` "source.changed" for a file that
        others wrote to meanwhile.
        """
        for path in self.paths:
            before = self._marks[path]
            try:
                scan = self._scan(path)
                wanted = [name for name in scan.collect_schema().names() if columns is None or name in columns]
                yield from scan.select(wanted).collect_batches(chunk_size=rows, maintain_order=True)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise InvalidInput(
                    "source.unreadable_input",
                    f"{path}: {str(error).splitlines()[0]}",
                    remedy="Is it whole, and what its name says?",
                    file=str(path),
                ) from error
            if _mark(path) != before:
                raise Conflict(
                    "source.changed",
                    f"{path} was written to while it was read",
                    remedy="Write a file under another name, and rename it when it is whole.",
                )

    @cached_property
    def _marks(self) -> dict[Path, tuple[int, int, int]]:
        return {path: _mark(path) for path in self.paths}

    def _scan(self, path: Path) -> pl.LazyFrame:
        if self.kind == "parquet":
            return pl.scan_parquet(path, glob=False, hive_partitioning=False)
        if self.kind == "jsonl":
            return pl.scan_ndjson(path, infer_schema_length=None)
        separator = self.separator or ("\t" if ".tsv" in path.suffixes else ",")
        return pl.scan_csv(
            path, infer_schema=False, separator=separator, null_values=list(self.nulls) or None, glob=False
        )


@dataclass(frozen=True)
class WholeTable:
    """The newest row of each key in one version of a table (None: the newest version); deleted keys are left out.

    Raises `NotFound` "table.not_found" and "table.version_not_found".
    """

    tables: Tables
    name: str
    version: int | None = None
    text: bool = False

    @property
    def named(self) -> str:
        """As it was said."""
        return f"table:{self.name}" + ("" if self.version is None else f"@{self.version}")

    @cached_property
    def at(self) -> int:
        """The version that is read."""
        return self.tables.open(self.name).version if self.version is None else self.version

    @cached_property
    def schema(self) -> TableSchema:
        """The table's newest schema: its tags."""
        return self.tables.open(self.name).schema

    def pin(self) -> Pin:
        """The table's name and version."""
        self.tables.open(self.name).plan(version=self.at)
        return Pin("table", {"table": self.name, "version": self.at})

    def batches(self, rows: int, scratch: Path, columns: Collection[str] | None) -> Iterator[pl.DataFrame]:
        """In append order."""
        table = self.tables.open(self.name)
        files = table.fetch(table.plan(version=self.at), scratch)
        have = {
            name: dtype
            for name, dtype in self.schema.all_columns.items()
            if columns is None or name in columns or name == "_key"
        }
        if not files:
            yield pl.DataFrame(schema=have)
            return
        path = scratch / "newest.parquet"
        kinds = {name: _DUCKDB.get(dtype, "DOUBLE") for name, dtype in have.items()}
        newest_rows(files, path, kinds, scratch=scratch)
        try:
            yield from pl.scan_parquet(path, glob=False).collect_batches(chunk_size=rows, maintain_order=True)
        finally:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class WholeQuery:
    """The rows that a query gives at this moment. `url` as for `sql`: SQLAlchemy's, `env:NAME`, or `duckdb:` over files.

    Two queries that give the same rows in the same order are the same input; its pin is made of what was read.
    """

    query: str
    url: str = "duckdb:"
    text: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        foreign.masked(self.url)
        if missing := sorted(foreign.named_parameters(self.query)):
            raise InvalidInput(
                "source.unbound_parameter",
                f"the query asks for {', '.join(f':{name}' for name in missing)}",
                remedy="Write the values into the query. A colon that is none is written inside of quotes.",
            )

    @property
    def named(self) -> str:
        """The query, and where it is asked; no secrets."""
        return canonical_json(self.described).decode()

    @property
    def described(self) -> Mapping[str, str]:
        """What is asked of which database; its password is masked."""
        return {"url": foreign.masked(self.url), "query": self.query}

    def pin(self) -> None:
        """Not before it was read."""
        return

    def batches(self, rows: int, scratch: Path, columns: Collection[str] | None) -> Iterator[pl.DataFrame]:
        """As the database gives them. Raises as `foreign.read`."""
        for found in foreign.batches(self.url, self.query, rows, scratch=scratch):
            frame = frame_of(found, {})
            yield frame.select(name for name in frame.columns if columns is None or name in columns)


def _file(path: Path) -> dict[str, Any]:
    seen = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            seen.update(block)
    return {"name": path.name, "size": path.stat().st_size, "digest": f"sha256:{seen.hexdigest()}"}


def _mark(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
