"""What a source's rows are: their key, their times, their columns and what is expected of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import polars as pl

from loopline.errors import InvalidInput
from loopline.tables.dedupe import Dedupe
from loopline.tables.evolution import Evolve, split_categories


class RowSchema(Protocol):
    """Splits good rows from bad ones; a class derived from `dataframely.Schema` does.

    `filter` returns the good rows and a failure whose `details()` are the bad rows with one further column per rule, named
    after the rule, that reads "invalid" where the row breaks it.
    """

    def filter(self, df: pl.DataFrame, /) -> Any: ...


RowRules = Mapping[str, pl.Expr] | RowSchema


@dataclass(frozen=True)
class SourceSpec:
    """A source of rows for the table `name`.

    - `key`: the column, or columns, whose values make a row's `_key`. Rows with one key are versions of one another.
    - `event_time`, `known_at`: the columns of when it happened and when it became known, Datetime with a zone; may be the same.
    - `columns`: all columns of the frame but the tombstone; None takes them from the first frame that has rows. Columns of
      categories are kept as text: `categories` has those that are listed (`pl.Enum`), or None (`pl.Categorical`).
    - `tombstone`: a Boolean column that is true where the row says that its key exists no longer; null is false.
    - `rows`: what is expected of rows that are no tombstones: Polars expressions by name, where null passes as in SQL's CHECK,
      or a `dataframely` schema.
    - `evolve`: what happens when the columns change; without rules, any change is refused.
    - `dedupe`: what becomes of rows that contradict each other, or say what is known.
    - `personal`: the columns that are about a person; `subject`: the column that says whose row it is, for erasure.

    Raises `InvalidInput` (`source.undeclared_column`, `source.no_key`).
    """

    name: str
    key: str | tuple[str, ...]
    event_time: str
    known_at: str
    columns: Mapping[str, Any] | None = None
    tombstone: str | None = None
    rows: RowRules | None = None
    personal: tuple[str, ...] = ()
    subject: str | None = None
    evolve: Evolve | None = None
    dedupe: Dedupe = field(default_factory=Dedupe)
    categories: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", (self.key,) if isinstance(self.key, str) else tuple(self.key))
        if not self.key:
            raise InvalidInput(
                "source.no_key", f"source {self.name!r} has no key", remedy="Name the columns of its key."
            )
        if self.columns is not None:
            declared = {name: dtype for name, dtype in self.columns.items() if name != self.tombstone}
            columns, categories = split_categories(declared)
            object.__setattr__(self, "columns", MappingProxyType(columns))
            object.__setattr__(self, "categories", MappingProxyType({**self.categories, **categories}))
            self._refuse_undeclared(columns)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of the key."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def named_columns(self) -> tuple[str, ...]:
        """The columns that the source must have: those of the key and the times."""
        return tuple(dict.fromkeys([*self.key_columns, self.event_time, self.known_at]))

    @property
    def guarded_columns(self) -> tuple[str, ...]:
        """The columns about persons: the personal ones and the subject."""
        return tuple(dict.fromkeys([*self.personal, *([self.subject] if self.subject else [])]))

    def _refuse_undeclared(self, columns: Mapping[str, pl.DataType]) -> None:
        missing = [name for name in (*self.named_columns, *self.guarded_columns) if name not in columns]
        if missing:
            raise InvalidInput(
                "source.undeclared_column",
                f"source {self.name!r} speaks of columns that it does not declare: {', '.join(missing)}",
                remedy="Add them to `columns`.",
                columns=missing,
            )


def key_text(columns: tuple[str, ...]) -> pl.Expr:
    r"""The `_key` of rows: the text of the one key column, or of several joined by `|` (a `|` or `\` inside is escaped by `\`).

    Null where any part is null. Datetimes read as ISO 8601 in UTC.
    """
    if len(columns) == 1:
        return pl.col(columns[0]).cast(pl.String).alias("_key")
    parts = [pl.col(name).cast(pl.String).str.replace_all(r"([\\|])", r"\$1") for name in columns]
    return pl.concat_str(parts, separator="|").alias("_key")
