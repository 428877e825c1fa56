"""Which values tell whose a row is, where no column says it: a prediction for a key that no table holds, a copy elsewhere."""

from collections.abc import Collection, Iterator

import polars as pl

from loopline.access.erasure import Person
from loopline.access.needles import distinctive, number_texts
from loopline.tables.quarantine import SUFFIX
from loopline.tables.schema import TableSchema
from loopline.tables.tables import Tables

ALONE = 0.9  # a column identifies if at least so much of its values are of one person each
_PREFIXES = ("", "feature_", "feature:")


def subjects(tables: Tables) -> dict[str, str]:
    """The subject column of every table that has one."""
    schemas = {name: tables.open(name).schema for name in tables.names()}
    return {name: schema.subject for name, schema in schemas.items() if schema.subject}


def columns_of(person: Person) -> tuple[str, ...]:
    """What the person's subject columns are called, also as features of a prediction or of a kept reference."""
    return tuple(f"{prefix}{name}" for name in person.columns for prefix in _PREFIXES)


def texts(rows: pl.DataFrame, columns: Collection[str]) -> set[str]:
    """The values as programs write them: times also with a T, a whole number also without its point."""
    found: set[str] = set()
    for name in columns:
        column = rows[name].drop_nulls().unique()
        if column.dtype.is_float():
            found.update(*map(number_texts, column))
        elif not column.dtype.is_nested() and column.dtype not in (pl.Boolean, pl.Binary):
            found |= set(column.cast(pl.String))
        if column.dtype == pl.Datetime:
            found |= {moment.isoformat() for moment in column}
    return found


def identifying(tables: Tables, columns: Collection[str]) -> list[str]:
    """Those of the `columns` (`table.column`, of tables with a subject) whose values are hardly ever those of two persons: an
    e-mail address is, a city is not.
    """
    found = []
    for one in columns:
        table, _, column = one.rpartition(".")
        subject = tables.open(table).schema.subject
        rows = tables.open(table).read(columns=sorted({str(subject), column})).drop_nulls()
        of_each = rows.unique().group_by(column).len()["len"]
        if len(of_each) and (of_each == 1).sum() >= ALONE * len(of_each):
            found.append(one)
    return found


def held_by_others(tables: Tables, person: Person, asked: Collection[str]) -> set[str]:
    """Those of the texts that are a whole value in a row of somebody else. To be named in somebody's note is not to be held."""
    found: set[str] = set()
    for name, subject in subjects(tables).items() if asked else ():
        rows = tables.open(name).read(where=pl.col(subject).cast(pl.String) != person.value)
        columns = [one for one in rows.columns if not one.startswith("_")]
        found |= texts(rows, columns) & set(asked)
    return found


def keys_told_by(tables: Tables, person: Person, telling: Collection[str]) -> dict[str, set[str]]:
    """The keys, by the table they are keys of, of rows that no subject column says to be the person's but a value does: the id
    as key or in a column called as the subject, or a personal column with one of the values in `telling`.
    """
    found: dict[str, set[str]] = {}
    for name in tables.names():
        schema = tables.open(name).schema
        if person.is_in(schema.subject) or name.endswith(SUFFIX):
            continue
        whose = list(_conditions(schema, person, telling))
        if whose:
            told = set(tables.open(name).read(columns=["_key"], where=pl.any_horizontal(whose))["_key"])
            space = schema.keys_of or name
            found.setdefault(space, set()).update(told - _of_somebody_else(tables, space, person))
    return {table: keys for table, keys in found.items() if keys}


def _conditions(schema: TableSchema, person: Person, telling: Collection[str]) -> Iterator[pl.Expr]:
    if distinctive(person.value) or "_key" in person.columns:
        yield pl.col("_key") == person.value
    for name in set(columns_of(person)) & set(schema.columns):
        yield pl.col(name).cast(pl.String) == person.value
    for name in schema.personal:
        if name != "_key" and telling and schema.all_columns[name] == pl.String:
            yield pl.col(name).is_in(sorted(telling))


def _of_somebody_else(tables: Tables, space: str, person: Person) -> set[str]:
    subject = tables.open(space).schema.subject if tables.exists(space) else None
    if subject is None:
        return set()
    return set(tables.open(space).read(columns=["_key"], where=pl.col(subject).cast(pl.String) != person.value)["_key"])
