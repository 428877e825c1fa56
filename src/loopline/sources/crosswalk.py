"""Crosswalks: identities that several systems know by several ids, resolved as they were known at each row's own time."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import polars as pl

from loopline.errors import InvalidInput
from loopline.tables.casting import cast_each
from loopline.tables.schema import UTC_TIME
from loopline.tables.source import key_text

Unresolved = Literal["keep", "null", "quarantine"]


@dataclass(frozen=True)
class Identity:
    """A column of ids to be resolved: by the rows of `table`, whose key is the id and whose column `to` is the identity, `into` a
    column of the rows. An id without an identity is kept, becomes null, or sends its row to quarantine.
    """

    crosswalk: str
    table: str
    to: str
    column: str
    into: str
    unresolved: Unresolved

    def describe(self) -> dict[str, str]:
        """As plain values."""
        said = {"crosswalk": self.crosswalk, "table": self.table, "to": self.to, "column": self.column}
        return said | {"into": self.into, "unresolved": self.unresolved}


@dataclass(frozen=True)
class Crosswalk:
    """Which identity an id stands for, in the rows of `table` (their key is the id, their column `to` the identity).

    A mapping holds from when its row became known until a correction, or a tombstone, is known.
    """

    name: str
    table: str
    to: str
    unresolved: Unresolved

    def of(self, column: str, *, into: str | None = None, unresolved: Unresolved | None = None) -> Identity:
        """Resolve the ids in `column` into the column `into`, by default the crosswalk's own `to`.

        Raises `InvalidInput` "crosswalk.unknown_rule".
        """
        return Identity(
            self.name, self.table, self.to, column, into or self.to, check_rule(unresolved or self.unresolved)
        )


def check_rule(rule: Unresolved) -> Unresolved:
    """The rule, if it is one. Raises `InvalidInput` "crosswalk.unknown_rule"."""
    if rule not in get_args(Unresolved):
        raise InvalidInput(
            "crosswalk.unknown_rule",
            f"unresolved={rule!r} is not known",
            remedy=f"Say one of {', '.join(get_args(Unresolved))}.",
        )
    return rule


def resolve(
    rows: pl.DataFrame, identity: Identity, mappings: pl.DataFrame, *, known_at: str
) -> tuple[pl.DataFrame, pl.Series]:
    """`rows` with the column `into` (String), and for each row whether its id has no identity (Boolean; null ids need none).

    `mappings` are history rows of the crosswalk's table. What counts for a row is the last mapping of its id that was known when
    the row was, so that what is learnt later changes no earlier row.

    Raises `InvalidInput` ("crosswalk.no_such_column", "crosswalk.column_taken").
    """
    _check(rows, identity, known_at)
    asked = rows.select(
        key_text((identity.column,)).alias("_id"), cast_each(rows[known_at], UTC_TIME).alias("_at")
    ).with_row_index("_place")
    held = mappings.select(
        pl.col("_key").alias("_id"),
        pl.col("_known_at").alias("_since"),
        pl.when(~pl.col("_tombstone")).then(pl.col(identity.to).cast(pl.String)).alias("_identity"),
    )
    found = asked.filter(pl.col("_at").is_not_null()).sort("_at", maintain_order=True)
    joined = found.join_asof(
        held.sort("_since", maintain_order=True),
        left_on="_at",
        right_on="_since",
        by="_id",
        strategy="backward",
        check_sortedness=False,
    )
    matched = asked.join(joined.select("_place", "_identity"), on="_place", how="left", maintain_order="left")
    unresolved = matched.select((pl.col("_identity").is_null() & pl.col("_id").is_not_null()).alias("_unresolved"))
    kept = pl.coalesce("_identity", "_id") if identity.unresolved == "keep" else pl.col("_identity")
    resolved = matched.select(kept.alias(identity.into)).to_series()
    return rows.with_columns(resolved), unresolved.to_series()


def nothing_held(to: str) -> pl.DataFrame:
    """The history of a crosswalk whose table has no rows yet."""
    schema: dict[str, Any] = {"_key": pl.String, "_known_at": UTC_TIME, "_tombstone": pl.Boolean, to: pl.String}
    return pl.DataFrame(schema=schema)


def _check(rows: pl.DataFrame, identity: Identity, known_at: str) -> None:
    absent = [name for name in (identity.column, known_at) if name not in rows.columns]
    if absent:
        raise InvalidInput(
            "crosswalk.no_such_column",
            f"crosswalk {identity.crosswalk!r} needs the column {', '.join(absent)}",
            remedy=f"The rows have: {', '.join(rows.columns)}.",
        )
    if identity.into in rows.columns and identity.into != identity.column:
        raise InvalidInput(
            "crosswalk.column_taken",
            f"the rows have a column {identity.into!r} already",
            remedy=f'Name another one: .of("{identity.column}", into="...").',
        )
