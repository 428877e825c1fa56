"""One versioned table: exactly-once appends, reads as of any version and any known time."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loopline.clock import Clock
from loopline.errors import Conflict, InvalidInput
from loopline.tables import compaction, copying, datafile, inspection, widening
from loopline.tables import erasure as erasing
from loopline.tables.actions import Action, MetaData, Protocol, Txn, commit_info
from loopline.tables.blocked import Blocked
from loopline.tables.bounds import Bounds
from loopline.tables.datafile import DataFile
from loopline.tables.erasure import Erased, Theirs
from loopline.tables.folder import Folder
from loopline.tables.log import READER_VERSION, WRITER_VERSION, Log, TableVersion
from loopline.tables.retention import refuse_retired, retire
from loopline.tables.schema import SYSTEM_COLUMNS, TableSchema, refuse_unknown
from loopline.values import canonical_json, micros, utc

_PATIENCE = 600.0  # seconds
# Log entries hold the provenance of every version, so no program may clean them up.
_SETTINGS = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 36500 days"}


class Table:
    """A handle on one table; make it with `Tables.create` or `Tables.open`. Share it between threads: it keeps the parsed log
    and reads only what was committed since.
    """

    def __init__(self, name: str, folder: Folder, *, clock: Clock, blocked: Blocked) -> None:
        self.name = name
        self._folder = folder
        self._log = Log(self._folder)
        self._clock = clock
        self._blocked = blocked

    @property
    def uri(self) -> str:
        """Where the Delta table is, for other programs."""
        return self._folder.url

    @property
    def schema(self) -> TableSchema:
        """The newest schema."""
        return self._log.refresh().schema()

    @property
    def version(self) -> int:
        """The newest version; 0 is the creation."""
        return self._log.refresh().version

    @property
    def erasures(self) -> Mapping[str, int]:
        """The erasures that took rows out of every version: their ids, and the version that says it was done."""
        return dict(self._log.refresh().erasures)

    def append(
        self, frame: pl.DataFrame, *, writer: str, sequence: int, provenance: Mapping[str, Any] | None = None
    ) -> TableVersion:
        """Append rows, exactly once per (writer, sequence), and return the version that holds them.

        The sequences of a writer grow strictly. One that is committed already changes nothing and returns the version that
        holds it, whatever `frame` is; one that was passed over raises `Conflict` (`table.sequence_passed`). `frame` has the
        columns of `schema.all_columns`; it may be empty, which counts as done, too. Rows of persons who were erased are
        left out. `provenance` is kept as JSON with the version. On a durable table the rows survive the death of the machine once this returns.

        Raises `InvalidInput` (`table.unknown_column`, `table.missing_column`, `table.wrong_dtype`,
        `table.null_in_system_column`, `table.bad_sequence`) before anything is written, `Unavailable` (`table.write_failed`).
        """
        _check_sequence(writer, sequence)
        if (done := self.find(writer, sequence)) is not None:
            return done
        self.refuse_passed(writer, sequence)
        schema = self._log.schema()
        schema.check(frame)
        told = _told(writer, sequence, provenance or {})
        with self._folder.lock.shared():
            rows = self.without_erased(frame.select(list(schema.all_columns)))
            adds = list(datafile.write(self._folder, rows, f"{writer}\x00{sequence}", self._now()))
            info = commit_info("append", "WRITE", self._now(), told)
            actions = [Action(info), Action(txn=Txn(writer, sequence)), *(Action(add=add) for add in adds)]
            self._log.commit(lambda: self._unless_committed(writer, sequence, actions))
        return self._log.holding(writer, sequence)

    def stage(self, frame: pl.DataFrame, name: str) -> list[str]:
        """Write rows that `append_staged` will append: the names of their files, durable, and in no version until then.

        Equal frames under an equal `name` give the same files, so that a retry leaves nothing behind. Rows of persons who were
        erased are left out, and an erasure takes its rows out of these files as of any other. Raises as `append`.
        """
        schema = self._log.refresh().schema()
        schema.check(frame)
        with self._folder.lock.shared():
            rows = self.without_erased(frame.select(list(schema.all_columns)))
            return [datafile.path_of(add.path) for add in datafile.write(self._folder, rows, name, self._now())]

    def append_staged(
        self, files: Iterable[str], *, writer: str, sequence: int, provenance: Mapping[str, Any] | None = None
    ) -> TableVersion:
        """Append the rows of staged files, all in one version: once per (writer, sequence), as `append` does.

        Raises as `append`, and `Corrupt` (`table.staged_missing`) where a file is gone.
        """
        _check_sequence(writer, sequence)
        if (done := self.find(writer, sequence)) is not None:
            return done
        self.refuse_passed(writer, sequence)
        told = _told(writer, sequence, provenance or {})
        with self._folder.lock.shared():
            adds = [add for name in files if (add := datafile.staged(self._folder, name, self._now())) is not None]
            info = commit_info("append", "WRITE", self._now(), told)
            actions = [Action(info), Action(txn=Txn(writer, sequence)), *(Action(add=add) for add in adds)]
            self._log.commit(lambda: self._unless_committed(writer, sequence, actions))
        return self._log.holding(writer, sequence)

    def unstage(self, files: Iterable[str]) -> None:
        """Remove staged files that no version has; others stay."""
        with self._folder.lock.shared():
            for name in set(files) - self._log.refresh().paths():
                self._folder.remove(name)

    def held(self) -> AbstractContextManager[None]:
        """Keeps erasures off this table for as long as what is written here and elsewhere belongs together."""
        return self._folder.lock.shared()

    def without_erased(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame`, rows that are meant for this table, without those of persons who were erased; needs only the columns that tell
        whose a row is. Raises `InvalidInput` (`table.no_pseudonyms`).
        """
        theirs = self._blocked.erased(self.name, self._log.refresh().schema(), frame)
        return frame if theirs is None else frame.filter(~theirs)

    def erase(self, theirs: Theirs, *, erasure: str, dry: bool = False, finish: bool = False) -> Erased:
        """Take a person's rows out of every version, whose other rows stay as they are; or with `dry` say what there is.

        Idempotent by the id `erasure`, and can be killed anywhere and begun again; `finish` says that an earlier attempt may have
        done all but the last step. Appends wait meanwhile. Raises `Unavailable` (`lock.busy`) where they do not end, `Corrupt`
        (`table.file_unreadable`).
        """
        with nullcontext() if dry else self._folder.lock.alone(patience=_PATIENCE):
            return erasing.erase(
                self._log, self._folder, theirs, erasure=erasure, timestamp=self._now(), dry=dry, finish=finish
            )

    def find(self, writer: str, sequence: int) -> TableVersion | None:
        """The version that holds this append, or None if it is not committed."""
        return self._log.refresh().find(writer, sequence)

    def sequence(self, writer: str) -> int | None:
        """The last sequence that `writer` committed, or None if it never did."""
        return self._log.refresh().sequence(writer)

    def refuse_passed(self, writer: str, sequence: int) -> None:
        """Raise `Conflict` (`table.sequence_passed`) if `writer` has committed this sequence or a later one."""
        last = self._log.sequence(writer)
        if last is not None and sequence <= last:
            raise Conflict(
                "table.sequence_passed",
                f"{writer!r} has committed sequence {last} to {self.name!r}; {sequence} comes too late",
                remedy="A writer's sequences must grow. Use another writer name to append out of order.",
                last=last,
            )

    def fetch(self, files: Iterable[DataFile], scratch: Path) -> list[Path]:
        """Local Parquet files with the rows of `files`, in their order: copies in the folder `scratch` where the table is not on a
        local disk. Raises `Corrupt` (`table.file_missing`).
        """
        return self._folder.fetched([file.path for file in files], scratch)

    def damage(self, *, deep: bool = False) -> list[tuple[str, str]]:
        """Names of data files that some version needs, each with what is wrong with it; `deep` reads every row of them."""
        return list(inspection.damage(self._log, self._folder, deep=deep))

    def strays(self, before: datetime) -> list[str]:
        """Names of files that no version has, written before that moment: left by writers that died, or staged and waiting."""
        return inspection.strays(self._log, self._folder, before)

    def drop_strays(self, before: datetime) -> list[str]:
        """Remove them, while nobody writes. Raises `Unavailable` (`lock.busy`)."""
        with self._folder.lock.alone(patience=_PATIENCE):
            found = self.strays(before)
            for name in found:
                self._folder.remove(name)
        return found

    def copy_at(self, version: int) -> Iterator[tuple[str, bytes]]:
        """Every file of the table as it was at `version`, by its name: data files first, then the log up to that version. Files
        that are staged, which no version has yet, are among them. Raises `Corrupt` (`table.file_missing`).
        """
        yield from copying.copy_at(self._folder, self._log.paths(version), version)

    def versions(self) -> list[TableVersion]:
        """All versions, oldest first; the index is the version number."""
        return list(self._log.refresh().versions)

    def plan(
        self,
        *,
        version: int | None = None,
        known_after: datetime | None = None,
        known_until: datetime | None = None,
        event_after: datetime | None = None,
        event_until: datetime | None = None,
    ) -> list[DataFile]:
        """The files that `read` with the same arguments would open, in append order."""
        bounds = Bounds(known_after, known_until, event_after, event_until)
        return self._plan(self._log.refresh().resolve(version), bounds)

    def read(
        self,
        *,
        version: int | None = None,
        known_after: datetime | None = None,
        known_until: datetime | None = None,
        event_after: datetime | None = None,
        event_until: datetime | None = None,
        columns: Iterable[str] | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """History rows in append order: all versions of every key, tombstones included.

        Only rows with `_known_at` in (known_after, known_until] and `_event_time` in (event_after, event_until], and for which
        `where` holds; at a table `version` exactly what was there then, by its schema then. `columns` picks and orders (system
        columns too); None gives all.

        Raises `InvalidInput` (`table.unknown_column`, `time.without_zone`), `NotFound` (`table.version_not_found`, `table.rows_retired`).
        """
        bounds = Bounds(known_after, known_until, event_after, event_until)
        at = self._log.refresh().resolve(version)
        schema = self._log.schema(at).all_columns
        wanted = _wanted(columns, schema)
        predicates = bounds.predicates() + ([] if where is None else [where])
        needed = _needed(wanted, predicates, schema)
        rows = datafile.read(self._folder, self._plan(at, bounds), schema, needed)
        return (rows.filter(*predicates) if predicates else rows).select(wanted)

    def appended(self, after: int, *, columns: Iterable[str] | None = None) -> tuple[int, pl.DataFrame]:
        """The rows that were appended in versions later than `after`, each once and in append order, and the version up to which these are all.

        Files made smaller in number bring no row again. `columns` picks and orders; None gives all. Raises `InvalidInput`
        (`table.unknown_column`).
        """
        until = self._log.refresh().version
        schema = self._log.schema(until).all_columns
        wanted = _wanted(columns, schema)
        files = [file for file in self._log.every_file() if after < file.added <= until and file.order[0] == file.added]
        return until, datafile.read(self._folder, files, schema, _needed(wanted, [], schema)).select(wanted)

    def current(
        self,
        at: datetime | None = None,
        *,
        version: int | None = None,
        columns: Iterable[str] | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """One row per key: its version with the greatest `_known_at` up to `at` (None: of all), unless that is a tombstone.

        Of several with one `_known_at` the one appended last counts. `where` chooses among these rows, so it never brings back
        a version that was corrected since. Rows come in the order in which they became known. Raises as `read` does.
        """
        newest = self._log.refresh().resolve(version)
        schema = self._log.schema(newest).all_columns
        wanted = _wanted(columns, schema)
        needed = _needed([*wanted, *SYSTEM_COLUMNS], [] if where is None else [where], schema)
        rows = self.read(version=newest, known_until=at, columns=needed)
        latest = rows.sort("_known_at", maintain_order=True).unique("_key", keep="last", maintain_order=True)
        latest = latest.filter(~pl.col("_tombstone"))
        return (latest if where is None else latest.filter(where)).select(wanted)

    def compact(self, *, target_rows: int = 100_000, fewest: int = 2, dry: bool = False) -> int:
        """Rewrite runs of at least `fewest` neighbouring files into files of up to `target_rows` rows; returns how many files that
        saved, or with `dry` would.

        Rows keep their order, older versions stay readable, sequences stay as they are; readers and appenders may go on.
        """
        if dry:
            found = compaction.runs(self._log.refresh().files(), target_rows, fewest)
            return sum(len(run) - 1 for run in found)
        with self._folder.lock.shared():
            return compaction.compact(self._log, self._folder, target_rows, self._now(), fewest=fewest)

    def retire(self, before: datetime, *, dry: bool = False) -> int:
        """Take out, in one commit, the rows that happened and became known before that moment (UTC); returns how many these were, or with
        `dry` would be. Rows of an append go when all of that append are older.

        Older versions lose them too: whoever reads one that held them is told (`table.rows_retired`). The files themselves go with
        `drop_strays`. Appends may go on meanwhile, and one that was committed stays committed.
        """
        with self._folder.lock.shared():
            return retire(self._log.refresh(), self._folder, utc(before), self._now(), dry=dry)

    def widen(self, columns: Mapping[str, pl.DataType]) -> None:
        """Give columns a wider dtype and rewrite the files by it; older versions stay as they were. For one writer at a time: an
        append that was checked against the narrow column before this commit and commits after it is not read any more.

        Raises `Conflict` (`table.widening_loses`) where a value would change.
        """
        with self._folder.lock.shared():
            widening.widen(self._log.refresh(), self._folder, columns, self._now())

    def declare(self, schema: TableSchema) -> None:
        """Make the table, or add what `schema` has and it lacks: columns, personal tags. Raises `Conflict`
        (`table.schema_changed`) where `schema` changes or drops a column.
        """
        if self._log.refresh().version < 0:
            self._folder.make("_delta_log")
        self._log.commit(lambda: self._declaration(schema))

    def _declaration(self, wanted: TableSchema) -> list[Action] | None:
        if self._log.version < 0:
            info = commit_info("create", "CREATE TABLE", self._now())
            protocol = Protocol(READER_VERSION, WRITER_VERSION)
            return [Action(info), Action(protocol=protocol), Action(meta_data=self._meta_data(wanted))]
        present = self._log.schema()
        merged = TableSchema({**present.columns, **wanted.columns}, wanted.personal, wanted.subject, wanted.keys_of)
        if present.added_by(wanted) == () and merged == present:
            return None
        info = commit_info("evolve", "ADD COLUMNS", self._now())
        return [Action(info), Action(meta_data=self._meta_data(merged))]

    def _meta_data(self, schema: TableSchema) -> MetaData:
        id_ = self._log.meta_data.id if self._log.meta_data else str(uuid.uuid5(uuid.NAMESPACE_URL, self.uri))
        created = self._log.meta_data.created_time if self._log.meta_data else self._now()
        return MetaData(id_, schema.to_json(), created, configuration=_SETTINGS)

    def _plan(self, version: int, bounds: Bounds) -> list[DataFile]:
        files = [file for file in self._log.files(version) if bounds.may_hold(file)]
        refuse_retired(files, version)
        return files

    def _unless_committed(self, writer: str, sequence: int, actions: list[Action]) -> list[Action] | None:
        if self._log.find(writer, sequence) is not None:
            return None
        self.refuse_passed(writer, sequence)
        return actions

    def _now(self) -> int:
        return micros(self._clock.now()) // 1000


def _wanted(columns: Iterable[str] | None, schema: Mapping[str, pl.DataType]) -> list[str]:
    wanted = list(schema) if columns is None else list(columns)
    refuse_unknown(set(wanted) - set(schema), schema)
    return wanted


def _needed(wanted: list[str], predicates: list[pl.Expr], schema: Mapping[str, pl.DataType]) -> list[str]:
    used = {name for predicate in predicates for name in predicate.meta.root_names()}
    refuse_unknown(used - set(schema), schema)
    return [name for name in schema if name in used or name in wanted or name == "_key"]


def _check_sequence(writer: str, sequence: int) -> None:
    if not writer or isinstance(sequence, bool) or not isinstance(sequence, int) or not 0 <= sequence < 2**63:
        raise InvalidInput(
            "table.bad_sequence",
            f"writer {writer!r} with sequence {sequence!r}",
            remedy="Give a writer name and a whole number from 0 that grows with every append of this writer.",
        )


def _told(writer: str, sequence: int, provenance: Mapping[str, Any]) -> dict[str, Any]:
    told = {"writer": writer, "sequence": sequence, "provenance": dict(provenance)}
    try:
        return dict(msgspec.json.decode(canonical_json(told)))
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            "table.bad_provenance",
            f"the provenance cannot be written as JSON: {error}",
            remedy="Give text, numbers, times, lists and mappings with text keys.",
        ) from error
