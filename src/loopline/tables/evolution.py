"""What happens when a source's columns change: a rule for each kind of change, and a record of each change."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import polars as pl

from loopline.errors import InvalidInput
from loopline.tables.dtypes import instance

Added = Literal["accept", "ignore", "quarantine", "refuse"]
Rule = Literal["accept", "quarantine", "refuse"]
Retyped = Literal["quarantine", "refuse"]

_SIGNED = (pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64())
_FLOATS = (pl.Float32(), pl.Float64())


@dataclass(frozen=True)
class Evolve:
    """Rules for changes of a source's columns; make them with `evolve`. `added` None is by whether columns are declared."""

    added: Added | None = None
    removed: Rule = "refuse"
    widened: Rule = "accept"
    retyped: Retyped = "quarantine"
    emptied: Rule = "accept"
    categories: Rule = "accept"

    def __post_init__(self) -> None:
        allowed = {"added": (None, *get_args(Added)), "retyped": get_args(Retyped)}
        for name, rule in asdict(self).items():
            possible = allowed.get(name, get_args(Rule))
            if rule not in possible:
                raise InvalidInput(
                    "source.unknown_rule",
                    f"{name}={rule!r} is not known",
                    remedy=f"Say one of {', '.join(one for one in possible if one)}.",
                )


# A source that declares no rules: any change but to what holds the same values in more room is refused whole.
STRICT = Evolve(added="refuse", removed="refuse", widened="refuse", retyped="refuse", categories="refuse")


@dataclass(frozen=True)
class SchemaChange:
    """One change of a column that rows came with: `kind` ("added", "removed", "widened", "retyped", "emptied", "categories"), what
    it was and is, the rule that was followed, and how many rows went to quarantine for it.
    """

    column: str
    kind: str
    before: str | None
    after: str | None
    rule: str
    quarantined: int = 0

    def plain(self) -> dict[str, Any]:
        """As plain values, for provenance and the ledger."""
        return asdict(self)


def evolve(
    *,
    added: Added | None = None,
    removed: Rule = "refuse",
    widened: Rule = "accept",
    retyped: Retyped = "quarantine",
    emptied: Rule = "accept",
    categories: Rule = "accept",
) -> Evolve:
    """What happens when the columns that a source gives change.

    - `added`, a column that is new: "accept" (the table gains it), "ignore" (it is left out), "quarantine" (rows with a value in
      it), "refuse". Unless said, it is accepted, or left out where the source declares its columns.
    - `removed`, a column that is gone: "accept" (null from now on), "quarantine", "refuse".
    - `widened`, numbers that need more room (1 becomes 1.5): "accept" (the table's column is widened, its rows rewritten),
      "quarantine" (rows whose value does not fit), "refuse". Keys and declared columns are not widened: see `retyped`.
    - `retyped`, values of another kind: "quarantine" (rows whose value cannot be read as the column's dtype), "refuse".
    - `emptied`, a column that had values is null in every row: "accept", "quarantine", "refuse".
    - `categories`, new values in a column declared `pl.Enum([...])` (others than those) or `pl.Categorical` (others than the
      table holds): "accept", "quarantine", "refuse".

    "refuse" keeps nothing of the window and fails the source until the rule or the rows are changed. Key and times may never be
    gone. Each change is in the provenance of the version that it came with; what changes a table is in the ledger, too.

    Raises `InvalidInput` "source.unknown_rule".
    """
    return Evolve(added, removed, widened, retyped, emptied, categories)


def wider(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """The number that holds the values of both dtypes, if they are numbers: whole ones may become Float64."""
    if one in _SIGNED and other in _SIGNED:
        return max(one, other, key=_SIGNED.index)
    if one in _FLOATS and other in _FLOATS:
        return pl.Float64()
    mixed = (one in _SIGNED and other in _FLOATS) or (one in _FLOATS and other in _SIGNED)
    return pl.Float64() if mixed else None


def split_categories(columns: dict[str, Any]) -> tuple[dict[str, Any], dict[str, tuple[str, ...] | None]]:
    """Declared columns as a table keeps them, and the categories of those declared as such: as listed, or None for as held."""
    dtypes = {name: instance(dtype) for name, dtype in columns.items()}
    listed = {name: tuple(dtype.categories) for name, dtype in dtypes.items() if isinstance(dtype, pl.Enum)}
    held = {name: None for name, dtype in dtypes.items() if isinstance(dtype, pl.Categorical)}
    kept = {name: pl.String() if name in listed or name in held else dtype for name, dtype in dtypes.items()}
    return kept, {**listed, **held}
