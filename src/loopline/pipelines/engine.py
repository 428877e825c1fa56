"""What the engine works with, and what it takes from a row."""

import os
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

import msgspec

from loopline.clock import Clock
from loopline.pipelines.codecs import Value
from loopline.pipelines.graph import Binding, Options, read_bindings
from loopline.pipelines.healing.classes import Classified
from loopline.pipelines.healing.decide import Next
from loopline.pipelines.healing.record import Where
from loopline.pipelines.instead import Instead
from loopline.storage.artifacts import ArtifactStore
from loopline.storage.database import Transaction
from loopline.storage.statements import Row, Sql, Statements
from loopline.values import micros

LEASE_MS = 30_000
MOST_LOSSES = 5
MAPPED = "*"

_NUMBERS = count(1)
_OPTIONS = msgspec.json.Decoder(Options)
_VALUE = msgspec.json.Decoder(Value)
_INSTEAD = msgspec.json.Decoder(Instead)

# Tells people that a step is over for its error, in the transaction that ends it: which attempt, its error, the end, the owner, and when.
Tell = Callable[[Transaction, Where, Classified, Next, str, datetime], None]

_FACTS = Sql("select id, pipeline, code, fresh, project from execution where id = ?")
_PARENT = Sql("select bindings from step where execution = ? and number = ?")
_EVENT = Sql("insert into event (execution, at, kind, number, attempt, worker, detail) values (?, ?, ?, ?, ?, ?, ?)")


@dataclass(frozen=True)
class Facts:
    """What never changes of an execution: the pinned code, and whether it takes nothing from the cache."""

    id: str
    pipeline: str
    code: str | None
    fresh: bool
    project: str


@dataclass(frozen=True)
class Claimed:
    """A step that this worker may run: nobody else does, until its lease ends. `attempt` fences whatever is committed for it."""

    execution: str
    number: int
    attempt: int
    name: str
    function: str
    code: str
    bindings: str
    options: Options
    parent: int | None
    failures: int
    needed_by: str
    wanted_by: str
    instead: Instead | None = None


@dataclass
class Engine:
    """One opened home as the engine sees it. `seed` is what its chance derives from; a lease lasts `lease_ms` by the database's clock.

    `tell` tells people of steps that failed or skipped their window; without it nobody is told.
    """

    artifacts: ArtifactStore
    clock: Clock
    seed: int = 0
    lease_ms: int = LEASE_MS
    tell: Tell | None = None
    _facts: dict[str, Facts] = field(default_factory=dict)
    _parents: dict[tuple[str, int], dict[str, Binding]] = field(default_factory=dict)

    def now(self) -> int:
        """The domain's time in microseconds since 1970 UTC."""
        return micros(self.clock.now())

    def facts(self, sql: Statements, execution: str) -> Facts:
        """What never changes of an execution, asked once."""
        if execution not in self._facts:
            if len(self._facts) > 1000:  # noqa: PLR2004 - it only must not grow without end
                self._facts.clear()
            [row] = sql.rows(_FACTS, execution)
            self._facts[execution] = Facts(row[0], row[1], row[2], bool(row[3]), row[4])
        return self._facts[execution]

    def bindings(self, sql: Statements, claimed: Claimed) -> tuple[dict[str, Binding], Collection[str]]:
        """Where each parameter comes from, and which are an element's own: the rest it shares with the others of its fan-out."""
        own = read_bindings(claimed.bindings)
        if claimed.parent is None:
            return own, ()
        key = (claimed.execution, claimed.parent)
        if key not in self._parents:
            if len(self._parents) > 100:  # noqa: PLR2004 - as above
                self._parents.clear()
            [row] = sql.rows(_PARENT, *key)
            shared = read_bindings(row[0])
            self._parents[key] = {name: one for name, one in shared.items() if not name.startswith(MAPPED)}
        return {**self._parents[key], **own}, own.keys()

    def record(
        self,
        sql: Statements,
        execution: str,
        kind: str,
        number: int | None = None,
        attempt: int | None = None,
        worker: str | None = None,
        detail: str | None = None,
        *,
        at: int | None = None,
    ) -> None:
        """Add an event; `detail` is JSON, `at` what the clock said a moment ago."""
        sql.later(_EVENT, execution, self.now() if at is None else at, kind, number, attempt, worker, detail)


def worker_name() -> str:
    """A name that no other worker has: host, process, and which of the process's it is."""
    started = os.stat(f"/proc/{os.getpid()}").st_ctime_ns if os.path.isdir("/proc/self") else 0  # noqa: PTH112, PTH116
    return f"{socket.gethostname()}:{os.getpid()}:{started % 10**9:09d}:{next(_NUMBERS)}"


def read_options(text: str) -> Options:
    """Options as a row keeps them."""
    return _OPTIONS.decode(text)


def read_value(text: str) -> Value:
    """A value as a row keeps it."""
    return _VALUE.decode(text)


def claimed_from(row: Row) -> Claimed:
    """A claimed step from the columns `CLAIMED`."""
    values: list[Any] = list(row)
    values[7] = read_options(values[7])
    values[-1] = None if values[-1] is None else _INSTEAD.decode(values[-1])
    return Claimed(*values)


CLAIMED = "execution, number, attempt, name, function, code, bindings, options, parent, failures, needed_by, wanted_by, instead"
