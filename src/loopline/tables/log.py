"""A table's Delta log, read as it grows and appended to with optimistic concurrency.

Log entries are never cleaned up, so that every version keeps its provenance and can be read; the whole log is therefore the
entries 0, 1, 2, ... and is read once, then only what is new. Entries are written here and not by delta-rs because it makes a
local entry visible before it is durable, and because its cost grows with the commits since the last checkpoint. The format is
Delta's own: delta-rs, Spark, DuckDB and Polars read and write the same tables.
"""

import threading
from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

import msgspec

from loopline.errors import Conflict, Corrupt, NotFound
from loopline.tables import datafile
from loopline.tables.actions import Action, CommitInfo, MetaData, Protocol, decode_entry, encode_entry
from loopline.tables.datafile import DataFile
from loopline.tables.folder import Folder
from loopline.tables.schema import TableSchema
from loopline.values import from_micros

READER_VERSION, WRITER_VERSION = 1, 2
ERASE, RETIRE = "erase", "retire"
_FOLDER = "_delta_log"


@dataclass(frozen=True)
class TableVersion:
    """One committed version of a table.

    `operation` is "create", "append", "evolve", "compact", "erase" or "retire", or another program's own word; `rows` counts the rows
    it appended; `writer` and `sequence` are None unless it is an append; `provenance` is what the appender gave.
    `committed_at` is the committing process's domain time, to the millisecond.
    """

    version: int
    committed_at: datetime
    operation: str
    rows: int
    writer: str | None = None
    sequence: int | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


class Log:
    """The log of the table in `folder`. One handle may be shared by threads; every process has its own."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._forget()

    def _forget(self) -> None:
        self._schemas: list[tuple[int, TableSchema]] = []
        self._files: list[DataFile] = []
        self._active: dict[str, DataFile] = {}
        self._last: dict[str, int] = {}
        self._by_sequence: dict[tuple[str, int], int] = {}
        self.versions: list[TableVersion] = []
        self.meta_data: MetaData | None = None
        self.erasures: dict[str, int] = {}

    @property
    def version(self) -> int:
        """The newest version read so far; -1 before the table exists."""
        return len(self.versions) - 1

    def refresh(self) -> "Log":
        """Read the entries that were committed since, and see to it that they last: what this handle has told of an entry, be
        it another's that died just now, holds after a crash of the machine, too.

        Raises `Corrupt` (`table.log_unreadable`) and `Conflict` (`table.unsupported_protocol`).
        """
        with self._lock:
            if entries := list(self._new_entries()):
                self._folder.sync(_FOLDER)
            if self.versions and any(_is_erasure(actions) for actions in entries):
                self._forget()  # an erasure changes the entries before it
                entries = list(self._new_entries())
            for actions in entries:
                self._apply(self.version + 1, actions)
        return self

    def commit(self, build: Callable[[], list[Action] | None]) -> None:
        """Commit what `build` gives, as the next version.

        `build` looks at this refreshed log and is called again whenever another commit came in between, so what it decides
        holds at the moment of the commit; None from it means that nothing is to be done.
        """
        with self._lock:
            while True:
                self.refresh()
                actions = build()
                if actions is None:
                    return
                if self._folder.create(_entry_name(self.version + 1), encode_entry(actions)):
                    self.refresh()
                    return

    def schema(self, version: int | None = None) -> TableSchema:
        """The schema at `version` (None: the newest). Raises `NotFound` (`table.version_not_found`)."""
        at = self.resolve(version)
        return next(schema for since, schema in reversed(self._schemas) if since <= at)

    def files(self, version: int | None = None) -> list[DataFile]:
        """The data files at `version`, in append order. Raises `NotFound` (`table.version_not_found`)."""
        with self._lock:
            at = self.resolve(version)
            return [file for file in self._files if file.at(at)]

    def every_file(self) -> list[DataFile]:
        """The data files of every version, in append order; those that are retired belong to none."""
        with self._lock:
            return [file for file in self._files if file.retired is None]

    def paths(self, version: int | None = None) -> set[str]:
        """The paths of the data files of every version, up to `version` where one is given."""
        with self._lock:
            return {file.path for file in self.every_file() if version is None or file.added <= version}

    def sequence(self, writer: str) -> int | None:
        """The last sequence that `writer` committed."""
        return self._last.get(writer)

    def find(self, writer: str, sequence: int) -> TableVersion | None:
        """The version that holds this append."""
        return self.holding(writer, sequence) if (writer, sequence) in self._by_sequence else None

    def holding(self, writer: str, sequence: int) -> TableVersion:
        """The version that holds this append, which is known to be there."""
        return self.versions[self._by_sequence[writer, sequence]]

    def resolve(self, version: int | None) -> int:
        """`version`, or the newest for None. Raises `NotFound` (`table.version_not_found`)."""
        if version is None:
            return self.version
        if not 0 <= version <= self.version:
            raise NotFound(
                "table.version_not_found",
                f"there is no version {version}; the newest is {self.version}",
                remedy="`Table.versions()` lists them.",
                version=version,
            )
        return version

    def _new_entries(self) -> Iterator[list[Action]]:
        first = self.version + 1
        for version, content in enumerate(self._folder.read_on(map(_entry_name, count(first))), first):
            yield self._decode(version, content)

    def _decode(self, version: int, content: bytes) -> list[Action]:
        try:
            return decode_entry(content)
        except msgspec.DecodeError as error:
            raise Corrupt(
                "table.log_unreadable",
                f"log entry {version} of {self._folder.url} is not Delta's: {error}",
                remedy="Restore the entry from a backup or a replica.",
            ) from error

    def _apply(self, version: int, actions: list[Action]) -> None:
        info = next((action.commit_info for action in actions if action.commit_info), CommitInfo())
        for action in actions:
            self._apply_to_state(version, action)
            if action.remove:
                self._drop(action.remove.path, version)
        if _operation(info) == RETIRE:
            self._retire({datafile.path_of(action.remove.path) for action in actions if action.remove}, version)
        adds = [action.add for action in actions if action.add]
        files = [datafile.from_add(add, version, index) for index, add in enumerate(adds)]
        for file in files:
            self._take(file)
        rows = sum(file.rows for file, add in zip(files, adds, strict=True) if add.data_change)
        self.versions.append(_table_version(version, info, rows))
        if self.versions[-1].operation == ERASE:
            self.erasures[str(self.versions[-1].provenance.get("erasure", version))] = version

    def _apply_to_state(self, version: int, action: Action) -> None:
        if action.protocol:
            _check_protocol(action.protocol)
        if action.meta_data:
            self.meta_data = action.meta_data
            self._schemas.append((version, TableSchema.from_json(action.meta_data.schema_string)))
        if action.txn:
            self._last[action.txn.app_id] = action.txn.version
            self._by_sequence[action.txn.app_id, action.txn.version] = version

    def _take(self, file: DataFile) -> None:
        self._drop(file.path, file.added)
        self._active[file.path] = file
        if self._files and file.order < self._files[-1].order:
            insort(self._files, file, key=lambda one: one.order)
        else:
            self._files.append(file)

    def _drop(self, path: str, version: int) -> None:
        if (file := self._active.pop(path, None)) is not None:
            file.removed = version

    def _retire(self, paths: set[str], version: int) -> None:
        for file in self._files:
            if file.path in paths and file.retired is None:
                file.retired = version


def _operation(info: CommitInfo) -> str:
    return str((info.loopline or {}).get("operation", ""))


def _is_erasure(actions: list[Action]) -> bool:
    told = next((action.commit_info.loopline for action in actions if action.commit_info), None)
    return told is not None and told.get("operation") == ERASE


def _entry_name(version: int) -> str:
    return f"{_FOLDER}/{version:020d}.json"


def _table_version(version: int, info: CommitInfo, rows: int) -> TableVersion:
    told = info.loopline or {}
    return TableVersion(
        version,
        from_micros(info.timestamp * 1000),
        told.get("operation", info.operation.lower()),
        rows,
        told.get("writer"),
        told.get("sequence"),
        told.get("provenance", {}),
    )


def _check_protocol(protocol: Protocol) -> None:
    if protocol.min_reader_version > READER_VERSION or protocol.min_writer_version > WRITER_VERSION:
        raise Conflict(
            "table.unsupported_protocol",
            f"the table needs Delta reader {protocol.min_reader_version} and writer {protocol.min_writer_version}; this "
            f"is {READER_VERSION} and {WRITER_VERSION}",
            remedy="Another program turned on table features (such as deletion vectors). Copy the rows to a new table.",
        )
