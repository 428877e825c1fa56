"""Columns that say what group a row is of: they go along with the rows to be judged, and never into the matrix."""

from collections.abc import Sequence

import polars as pl

from loopline.errors import InvalidInput

Named = tuple[str, pl.Expr]


def with_groups(frame: pl.DataFrame, subjects: pl.DataFrame, groups: Sequence[Named]) -> pl.DataFrame:
    """`frame` with each of `groups`, as text, from the rows of `subjects`, which stand in the same order.

    A column that is a feature too stays as it is. Raises `InvalidInput` for a column that the rows' table has not.
    """
    wanted = [(name, expression) for name, expression in groups if name not in frame.columns]
    missing = sorted({root for _, one in wanted for root in one.meta.root_names() if root not in subjects.columns})
    if missing:
        raise InvalidInput(
            "bias.unknown_column",
            f"there is no column {', '.join(missing)} to tell groups by",
            remedy=f"There are: {', '.join(name for name in subjects.columns if not name.startswith('_'))}.",
        )
    told = subjects.select(expression.cast(pl.String).alias(name) for name, expression in wanted)
    return pl.concat([frame, told], how="horizontal") if wanted else frame
