"""A person in all tables of a home: what is theirs, and how it goes."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import msgspec
import polars as pl

from loopline.access.erasure import Eraser, Person, Removed, Target, Traces
from loopline.access.needles import distinctive
from loopline.tables.erasure import Erased, Theirs
from loopline.tables.quarantine import SUFFIX
from loopline.tables.schema import TableSchema
from loopline.tables.table import Table
from loopline.tables.tables import Tables
from loopline.tables.telling import columns_of, held_by_others, identifying, keys_told_by, subjects, texts

PLACE = "table "


def eraser(tables: Tables) -> Eraser:
    """Takes a person out of every table, and sees to it that their rows are not taken again."""
    return Eraser("tables", _Sweep(tables), lambda person: trace(tables, person))


def keys(tables: Tables, person: Person) -> dict[str, set[str]]:
    """The keys of the person's rows, by table."""
    found: dict[str, set[str]] = {}
    for name, subject in subjects(tables).items():
        if person.is_in(subject):
            rows = tables.open(name).read(columns=["_key"], where=pl.col(subject).cast(pl.String) == person.value)
            found[name] = set(rows["_key"])
    return found


def trace(tables: Tables, person: Person) -> Traces:
    """The keys of the person's rows by table, those too of rows that only a personal value tells to be theirs, and those of their
    personal values and keys that stand in nobody else's row. `shared` counts the values that others have too.
    """
    found = keys(tables, person)
    values: dict[str, set[str]] = {}
    for name, subject in subjects(tables).items():
        if person.is_in(subject):
            table = tables.open(name)
            rows = table.read(where=pl.col(subject).cast(pl.String) == person.value)
            quarantined = list(_quarantined(tables, name, subject, person))
            found[name] |= {key for key, _ in quarantined if key}
            for column in (one for one in table.schema.personal if one in rows.columns):
                held = texts(rows, [column]) | {str(said[column]) for _, said in quarantined if said.get(column)}
                values.setdefault(f"{name}.{column}", set()).update(held - {person.value})
    names = identifying(tables, [one for one in values if not one.endswith("._key")])
    telling = {text for column in names for text in values[column] if distinctive(text)}
    telling -= held_by_others(tables, person, telling)
    for table_name, theirs in keys_told_by(tables, person, telling).items():
        found.setdefault(table_name, set()).update(theirs)
    every = {key for theirs in found.values() for key in theirs}
    told = {text for held in values.values() for text in held if distinctive(text)}
    asked = (told | {key for key in every if distinctive(key)}) - {person.value} - telling
    others = _of_others(tables, person, Traces(found), asked, every - told)
    return Traces(found, telling | (asked - others), shared=len(told - telling & others))


@dataclass(frozen=True)
class _Sweep:
    tables: Tables

    def __call__(self, target: Target, *, dry: bool) -> Collection[Removed]:
        if not dry:
            self._block(target)
        return [told for name in self.tables.names() for told in self._table(name, target, dry=dry)]

    def _block(self, target: Target) -> None:
        """Before any row is taken out, so that none comes in behind."""
        person, keys = target.person, target.traces.keys
        if target.allow_return:
            self.tables.blocked.lift(person.value, keys)
        else:
            self.tables.blocked.add(person.value, person.columns, keys)

    def _table(self, name: str, target: Target, *, dry: bool) -> Iterator[Removed]:
        if name in target.kept or name.removesuffix(SUFFIX) in target.kept:
            return
        table, place = self.tables.open(name), f"{PLACE}{name}"
        theirs = _theirs(self.tables, table, target.person, target.traces, target)
        done = table.erase(theirs, erasure=target.erasure, dry=dry, finish=place in target.held)
        yield from _told(place, done)


def _told(place: str, done: Erased) -> Iterator[Removed]:
    versions = (str(done.before), str(done.after))
    if done.rows:
        yield Removed(place, "rows", done.rows, *versions)
    if done.cells:
        yield Removed(place, "cells", done.cells, *versions, note="rows of others that named the person")
    if done.files and not done.rows:
        yield Removed(place, "files of old versions", done.files, *versions)
    if done.entries and not (done.rows or done.files):
        yield Removed(place, "log entries", done.entries, *versions)


def _theirs(tables: Tables, table: Table, person: Person, traces: Traces, target: Target | None) -> Theirs:
    schema = table.schema
    source = table.name.removesuffix(SUFFIX)
    inside = None
    if source != table.name and tables.exists(source):
        of_source = tables.open(source).schema.subject
        inside = of_source if person.is_in(of_source) else None
    keys = traces.keys.get(schema.keys_of or source, set())
    subject = schema.subject if person.is_in(schema.subject) else None
    needles = target.needles if target else Target("", person).needles
    return Theirs(
        person.value, subject, frozenset(keys), needles, inside, also=() if schema.subject else columns_of(person)
    )


def _quarantined(tables: Tables, name: str, subject: str, person: Person) -> Iterator[tuple[str, dict[str, object]]]:
    """Key and content of the person's quarantined rows."""
    if not tables.exists(name + SUFFIX):
        return
    rows = tables.open(name + SUFFIX).read(columns=["_key", "row"])
    for key, text in rows.iter_rows():
        said = msgspec.json.decode(text)
        if str(said.get(subject)) == person.value:
            yield key, said


def _of_others(tables: Tables, person: Person, traces: Traces, told: set[str], only_keys: set[str]) -> set[str]:
    """Those of the texts `told` that stand in a row that is not the person's; `only_keys` may be keys of other rows."""
    found: set[str] = set()
    for name in tables.names() if told else ():
        table = tables.open(name)
        rows = table.read()
        others = rows.filter(~_theirs(tables, table, person, traces, None).rows(rows))
        for column in _text_columns(table.schema):
            asked = sorted(told - only_keys if column == "_key" else told)
            found |= set(_standing_in(others[column], asked))
    return found


def _standing_in(column: pl.Series, texts: list[str]) -> Collection[str]:
    if not texts or not len(column):
        return []
    return column.drop_nulls().unique().str.extract_many(texts, overlapping=True).explode().drop_nulls().unique()


def _text_columns(schema: TableSchema) -> list[str]:
    return [name for name, dtype in schema.all_columns.items() if dtype == pl.String]
