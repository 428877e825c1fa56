"""How a loop declares its sources: by a function, or by a reader that is ready-made."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import polars as pl

from loopline.incidents.people import check_name
from loopline.loop.consumer import Consumer, consumer_of
from loopline.loop.mistake import blaming_caller, mistake
from loopline.loop.source import Knowledge, Pushed, Source, SourceFunction
from loopline.scoring.record import prediction_table
from loopline.sources.crosswalk import Crosswalk, Identity, Unresolved, check_rule
from loopline.sources.known import KNOWN_AT, KnownAt, known_column
from loopline.sources.reader import Reader, Reading, Terms
from loopline.tables.dedupe import Dedupe
from loopline.tables.evolution import Evolve
from loopline.tables.schema import UTC_TIME
from loopline.tables.source import SourceSpec
from loopline.values import duration


class SourceOptions(TypedDict, total=False):
    """What every source may say of itself besides its key and times; see `Loop.source`."""

    every: str
    known: Knowledge
    tombstone: str | None
    expect: Any
    personal: Sequence[str]
    subject: str | None
    freshness: str | None
    settle: str
    evolve: Evolve | None
    dedupe: Dedupe | None
    identify: Sequence[Identity]
    owner: str


class ReadOptions(SourceOptions, total=False):
    """What a source that is read may say, too."""

    columns: Mapping[str, Any] | None


class Sourcing:
    """The part of a loop that declares sources."""

    name: str
    sources: dict[str, Source]
    consumers: dict[str, Consumer]

    def source(
        self,
        *,
        key: str | tuple[str, ...],
        event_time: str,
        known_at: str,
        every: str = "1h",
        known: Knowledge = "measured",
        tombstone: str | None = None,
        columns: Mapping[str, Any] | None = None,
        expect: Any = None,
        personal: Sequence[str] = (),
        subject: str | None = None,
        freshness: str | None = None,
        settle: str = "0s",
        evolve: Evolve | None = None,
        dedupe: Dedupe | None = None,
        identify: Sequence[Identity] = (),
        owner: str = "",
        name: str | None = None,
    ) -> Callable[[SourceFunction], Source]:
        """Declare a source: `function(window)` returns the rows that became known in the window.

        `event_time` and `known_at` name columns of aware datetimes; `tombstone` a boolean column that is true for
        deletions; `known` says whether times of knowledge were measured or are assumed, which a replay repeats; `columns` the expected dtypes (taken from the first rows where absent); `expect` checks on rows (a
        mapping of names to Polars expressions, or a dataframely schema); `personal` the columns about a person, `subject`
        the one that says whose row it is. It is told as a data fault when the newest row is
        older than `freshness`. With `settle`, what became known is asked for only that much later: for databases whose
        transactions commit after the time they write. `evolve` says what happens when columns change (without it, such a
        window is refused), `dedupe` what becomes of rows that contradict each other or say what is known. `identify` resolves ids by crosswalks. `owner` is told of its faults. `name` is the
        function's unless said.
        """

        def declare(function: SourceFunction) -> Source:
            called = name or function.__name__
            if called in self.sources:
                raise mistake(
                    "source.declared_twice", f"source {called!r} is declared twice", "Give each its own name."
                )
            with blaming_caller():
                for length in (every, settle, freshness or "0s"):
                    duration(length)
                if owner:
                    check_name(owner)
                spec = SourceSpec(
                    name=f"{self.name}.{called}",
                    key=key,
                    event_time=event_time,
                    known_at=known_at,
                    columns=_with_identities(columns, identify),
                    tombstone=tombstone,
                    rows=expect,
                    personal=tuple(personal),
                    subject=subject,
                    evolve=evolve,
                    dedupe=dedupe or Dedupe(),
                )
            self.sources[called] = Source(
                self.name, spec, function, every, known, freshness, settle, owner, tuple(identify)
            )
            return self.sources[called]

        return declare

    def read(
        self,
        reader: Reader,
        *,
        name: str,
        key: str | tuple[str, ...],
        event_time: str,
        known_at: KnownAt,
        **options: Unpack[ReadOptions],
    ) -> Source:
        """Declare a source that a ready-made reader reads: `files(...)`, `sql(...)` or `spreadsheet(...)`.

        `known_at` names a column, or is a rule, `modified()` or `delayed(column, by)`: then times of knowledge are assumed,
        and the column is `known_at`. Columns may change by `evolve()` unless said otherwise. The rest is as in `source`.
        """
        if not isinstance(reader, Reader):
            raise mistake(
                "source.not_a_reader", f"{reader!r} reads nothing", "Pass files(...), sql(...) or spreadsheet(...)."
            )
        ruled = not isinstance(known_at, str)
        columns = options.get("columns")
        if columns and ruled:
            columns = {**columns, KNOWN_AT: UTC_TIME}
        options["columns"] = columns
        options.setdefault("evolve", Evolve())
        options.setdefault("known", "assumed" if ruled else "measured")
        declare = self.source(
            name=_named(name), key=key, event_time=event_time, known_at=known_column(known_at), **options
        )
        return declare(Reading(reader, Terms(known_at, event_time, dict(columns) if columns else None)))

    def pushed(
        self,
        *,
        name: str,
        key: str | tuple[str, ...],
        event_time: str,
        columns: Mapping[str, Any],
        known_at: str = "received_at",
        history: SourceFunction | Reader | None = None,
        **options: Unpack[SourceOptions],
    ) -> Source:
        """Declare a source whose rows are pushed: `POST /api/v1/projects/LOOP/sources/NAME/rows`.

        Rows have the declared `columns`, as JSON; times with their zone. They are known when they are received: that is the
        column `known_at`, which they do not have themselves. `history`, a function of a window or a reader, gives the rows from
        before, which replays need. The rest is as in `source`; rows with further fields are quarantined unless `evolve` says
        otherwise, and rows that were received are ingested once a minute.
        """
        options.setdefault("every", "1m")
        options.setdefault("evolve", Evolve(added="quarantine", removed="accept"))
        kept = {**columns, known_at: UTC_TIME}
        if isinstance(history, Reader):
            history = Reading(history, Terms(known_at, event_time, kept))
        declare = self.source(
            name=_named(name), key=key, event_time=event_time, known_at=known_at, columns=kept, **options
        )
        return declare(Pushed(history))

    def crosswalk(
        self, name: str, *, source: Source, from_: str, to: str, unresolved: Unresolved = "keep"
    ) -> Crosswalk:
        """Declare that the rows of `source` say which identity (column `to`) an id (column `from_`, its key) stands for.

        Other sources resolve their ids by it: `identify=[customers.of("crm_id")]`. Each row by what was known at its own time.
        """
        columns = source.spec.columns
        if source.spec.key_columns != (from_,) or (columns is not None and to not in columns):
            raise mistake(
                "crosswalk.no_mapping",
                f"{source.table} does not map {from_!r} to {to!r}",
                f"A mapping has the id as its key, which is {', '.join(source.spec.key_columns)}, and a column of the identity.",
            )
        with blaming_caller():
            return Crosswalk(name, source.table, to, check_rule(unresolved))

    def consumer(
        self, name: str, *, reads: Any, columns: Mapping[str, Any] | Sequence[str], owner: str = ""
    ) -> Consumer:
        """Register who reads a table from outside: `columns` with the dtypes it counts on, or just their names.

        `reads` is a source, a model (its predictions) or a table's name. A plan that would break the contract says so, and
        `apply` refuses it unless that is accepted.
        """
        if name in self.consumers:
            raise mistake("consumer.declared_twice", f"consumer {name!r} is declared twice", "Give each its own name.")
        with blaming_caller():
            self.consumers[name] = consumer_of(name, self._table(reads), columns, owner)
        return self.consumers[name]

    def _table(self, read: Any) -> str:
        if isinstance(read, str):
            return read
        return read.table if isinstance(read, Source) else prediction_table(self.name, read.name)


def _with_identities(columns: Mapping[str, Any] | None, identify: Sequence[Identity]) -> dict[str, Any] | None:
    """The declared columns and those that identities are resolved into."""
    return {**columns, **{one.into: pl.String for one in identify}} if columns else None


def _named(name: str) -> str:
    if not name.isidentifier():
        raise mistake("source.bad_name", f"{name!r} cannot name a source", "Use letters, digits and underscores.")
    return name
