"""Consumers: who reads a table from outside, which columns as what, and whom to ask before that changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from loopline.errors import InvalidInput
from loopline.loop import store
from loopline.loop.resources import Resources
from loopline.storage.database import Transaction
from loopline.tables.dtypes import instance
from loopline.tables.schema import SYSTEM_COLUMNS, UTC_TIME


@dataclass(frozen=True)
class Consumer:
    """A reader of the table `reads` from outside of Loopline: its columns, each with the dtype it counts on, or None for any."""

    name: str
    reads: str
    columns: Mapping[str, str | None]
    owner: str = ""

    def describe(self) -> dict[str, Any]:
        """As plain values."""
        return {"reads": self.reads, "columns": dict(self.columns), **({"owner": self.owner} if self.owner else {})}


class ConsumerStatus(msgspec.Struct, frozen=True):
    """A registered consumer and whether its contract is kept by the table as it is. `broken` says in what it is not; None where
    there is no table yet.
    """

    consumer: str
    loop: str
    reads: str
    columns: dict[str, str | None]
    owner: str
    broken: list[str] | None


def consumer_of(name: str, reads: str, columns: Mapping[str, Any] | Sequence[str], owner: str) -> Consumer:
    """A consumer from what was declared. Raises `InvalidInput` ("consumer.no_columns", "consumer.unknown_dtype")."""
    wanted: Mapping[str, Any] = columns if isinstance(columns, Mapping) else dict.fromkeys(columns)
    if not name or not wanted or isinstance(columns, str):
        raise InvalidInput(
            "consumer.no_columns",
            f"consumer {name!r} says of no column that it reads it",
            remedy='Give its columns: {"score": "Float64"}, or a list of names.',
        )
    return Consumer(name, reads, {column: _dtype_text(column, dtype) for column, dtype in wanted.items()}, owner)


def registered(tx: Transaction) -> list[tuple[str, Consumer]]:
    """The consumers of every applied loop, each with its loop."""
    found = []
    for loop in store.applied_loops(tx):
        applied = store.latest_applied(tx, loop)
        found += [(loop, one) for one in consumers_in(applied["declaration"] if applied else {})]
    return found


def consumers_in(said: Mapping[str, Any]) -> list[Consumer]:
    """The consumers of a declaration as described."""
    return [
        Consumer(name, one["reads"], one["columns"], one.get("owner", ""))
        for name, one in said.get("consumers", {}).items()
    ]


def list_consumers(resources: Resources) -> list[ConsumerStatus]:
    """Every registered consumer of this home, and whether its table is as it counts on."""
    with resources.database.reading() as tx:
        found = registered(tx)
    return [
        ConsumerStatus(one.name, loop, one.reads, dict(one.columns), one.owner, _broken(resources, one))
        for loop, one in found
    ]


def _broken(resources: Resources, one: Consumer) -> list[str] | None:
    if not resources.tables.exists(one.reads):
        return None
    held = {name: str(dtype) for name, dtype in resources.tables.open(one.reads).schema.all_columns.items()}
    return [problem for column in one.columns if (problem := unkept(one, column, held)) is not None]


def unkept(one: Consumer, column: str, held: Mapping[str, str]) -> str | None:
    """What is wrong with the column for the consumer, where the table has the columns `held` (dtypes as text); None if nothing."""
    if column not in held and column not in SYSTEM_COLUMNS:
        return f"{column} is not there"
    wanted, found = one.columns[column], held.get(column, str(SYSTEM_COLUMNS.get(column)))
    return None if wanted in {None, found} else f"{column} is {found}, not {wanted}"


def _dtype_text(column: str, dtype: Any) -> str | None:
    if dtype is None:
        return None
    if not isinstance(dtype, str):
        return str(instance(dtype))
    if dtype in {"Datetime", str(UTC_TIME)}:
        return str(UTC_TIME)
    found = getattr(pl, dtype, None)
    if not (isinstance(found, type) and issubclass(found, pl.DataType)) or found.is_nested():
        raise InvalidInput(
            "consumer.unknown_dtype",
            f"column {column!r}: {dtype!r} is no dtype",
            remedy='Write "Float64", "Int64", "String", "Boolean", "Datetime" (UTC), or a Polars dtype such as pl.List(pl.Float64).',
        )
    return str(instance(found))
