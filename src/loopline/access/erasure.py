"""Erasing a person: who it is, what is theirs, and the protocol by which each part removes it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import msgspec

from loopline.access.needles import Needles


class Person(msgspec.Struct, frozen=True):
    """Whom an erasure is about: the id as text, the subject columns it stands in (none: every one), and how the person is
    called where the id has no business.
    """

    value: str
    columns: tuple[str, ...]
    pseudonym: str

    def is_in(self, subject: str | None) -> bool:
        """Whether a table whose subject column this is may hold the person's rows."""
        return subject is not None and (not self.columns or subject in self.columns)


class Traces(msgspec.Struct, frozen=True):
    """What is the person's: row keys by the table they are keys of, the `values` and keys that nobody else has, and the digests of
    artifacts with `samples` of rows among which theirs may be. `shared` counts the values that others have too.
    """

    keys: dict[str, set[str]] = {}
    values: set[str] = set()
    samples: set[str] = set()
    shared: int = 0

    def __or__(self, other: "Traces") -> "Traces":
        tables = {*self.keys, *other.keys}
        keys = {table: self.keys.get(table, set()) | other.keys.get(table, set()) for table in tables}
        shared = max(self.shared, other.shared)
        return Traces(keys, self.values | other.values, self.samples | other.samples, shared)


@dataclass(frozen=True)
class Target:
    """One erasure: its id, the person, what is theirs, and the tables that are `kept` with the reason (a legal hold).

    `allow_return`: rows of the person that come later are taken again. `held` are the places where an attempt at this erasure
    found something before it began.
    """

    erasure: str
    person: Person
    traces: Traces = field(default_factory=Traces)
    kept: Mapping[str, str] = field(default_factory=dict)
    allow_return: bool = False
    held: frozenset[str] = frozenset()

    @cached_property
    def needles(self) -> Needles:
        """What is searched for byte by byte: the id, and the values and keys that nobody else has."""
        return Needles({self.person.value, *self.traces.values}, self.person.pseudonym)

    @cached_property
    def keys(self) -> frozenset[str]:
        """The row keys in all tables."""
        return frozenset(key for keys in self.traces.keys.values() for key in keys)


class Removed(msgspec.Struct, frozen=True):
    """What was removed from one place, or would be: `count` of `what` (rows, cells, files, ...). `before` and `after` are table
    versions or digests, `note` says what is to be known of it.
    """

    place: str
    what: str
    count: int
    before: str | None = None
    after: str | None = None
    note: str | None = None


class Sweep(Protocol):
    """Removes what is the target's from one part, or with `dry` says what it would remove. Doing it again finds nothing, and after
    a crash at any point does the rest.
    """

    def __call__(self, target: Target, *, dry: bool) -> Collection[Removed]: ...


def _no_traces(_: Person) -> Traces:
    return Traces()


@dataclass(frozen=True)
class Eraser:
    """What a part registers: its name, how it sweeps, and how it finds out what is the person's."""

    name: str
    sweep: Sweep
    trace: Callable[[Person], Traces] = _no_traces
