"""Rows that say the same, or contradict each other: what becomes of them, by rule."""

from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

from loopline.errors import InvalidInput
from loopline.tables.schema import SYSTEM_COLUMNS

Conflicts = Literal["quarantine", "first", "last"]
Unchanged = Literal["keep", "drop"]


@dataclass(frozen=True)
class Dedupe:
    """Rules for a source's duplicates; make them with `dedupe`."""

    conflicts: Conflicts = "quarantine"
    unchanged: Unchanged = "keep"

    def __post_init__(self) -> None:
        for name, rule, possible in (
            ("conflicts", self.conflicts, get_args(Conflicts)),
            ("unchanged", self.unchanged, get_args(Unchanged)),
        ):
            if rule not in possible:
                raise InvalidInput(
                    "source.unknown_dedupe",
                    f"{name}={rule!r} is not known",
                    remedy=f"Say one of {', '.join(possible)}.",
                )


def dedupe(*, conflicts: Conflicts = "quarantine", unchanged: Unchanged = "keep") -> Dedupe:
    """What becomes of a source's rows that say the same or contradict each other. Identical rows are always one.

    - `conflicts`, rows of one key and one known time that differ: "quarantine" all of them, or keep the "first" or the "last" as
      the source gave them.
    - `unchanged`, a row that says of its key what was known already, but for its times: "keep" it as a new version, or "drop" it.
      For sources that give all they have again and again.

    Raises `InvalidInput` "source.unknown_dedupe".
    """
    return Dedupe(conflicts, unchanged)


def without_unchanged(rows: pl.DataFrame, current: pl.DataFrame, ignoring: tuple[str, ...]) -> pl.DataFrame:
    """`rows` (with system columns) without those that say what `current` (a row a key), or the row of the key before, says.

    Compared is all but the times: the system columns and the payload columns `ignoring`.
    """
    compared = [name for name in rows.columns if name not in (*SYSTEM_COLUMNS, *ignoring)]
    content = pl.struct("_tombstone", *compared).hash(seed=0)
    ordered = rows.with_row_index("_place").sort("_known_at", "_place", maintain_order=True)
    said = ordered.select("_key", "_place", content.alias("_said"))
    before = current.select("_key", pl.lit(None, pl.UInt32).alias("_place"), content.alias("_said"))
    both = pl.concat([before.with_columns(pl.col("_place").cast(said.schema["_place"])), said])
    repeated = both.filter(pl.col("_said") == pl.col("_said").shift(1).over("_key"))["_place"].drop_nulls()
    return rows.with_row_index("_place").filter(~pl.col("_place").is_in(repeated.implode())).drop("_place")
