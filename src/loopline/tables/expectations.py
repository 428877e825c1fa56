"""What is expected of each row, by Polars expressions or by a dataframely schema."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from loopline.errors import InvalidInput
from loopline.tables.source import RowRules

_INVALID = "invalid"


def broken_rule(source: str, rows: pl.DataFrame, rules: RowRules) -> pl.Series:
    """For each of `rows` the name of the first rule that it breaks, else null (String).

    Raises `InvalidInput` (`source.bad_expectation`) where a rule cannot be evaluated or does not give Booleans.
    """
    try:
        return _by_expressions(rows, rules) if isinstance(rules, Mapping) else _by_schema(rows, rules)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise InvalidInput(
            "source.bad_expectation",
            f"an expectation of source {source!r} cannot be evaluated: {error}",
            remedy="Expectations are Boolean expressions over the source's columns.",
        ) from error


def first_reason(condition: pl.Expr, name: str) -> pl.Expr:
    """`name` where `condition` is true, else null."""
    return pl.when(condition).then(pl.lit(name))


def _by_expressions(rows: pl.DataFrame, rules: Mapping[str, pl.Expr]) -> pl.Series:
    passed = rows.with_columns(**dict(rules)).select(*rules)
    for name, dtype in passed.schema.items():
        if dtype != pl.Boolean:
            raise TypeError(f"{name!r} gives {dtype}")
    return passed.select(_first([first_reason(~pl.col(name), name) for name in rules])).to_series()


def _by_schema(rows: pl.DataFrame, schema: Any) -> pl.Series:
    # The failed rows come back without their positions: equal rows break equal rules, so they are found by their content.
    _, failure = schema.filter(rows)
    details = failure.details()
    content = [name for name in details.columns if name in rows.columns]
    rules = [name for name in details.columns if name not in rows.columns]
    reason = _first([first_reason(pl.col(name).cast(pl.String) == _INVALID, name) for name in rules])
    broken = details.select(reason.alias("broken")).with_columns(details.select(content).hash_rows().alias("content"))
    keyed = pl.DataFrame({"content": rows.select(content).hash_rows()})
    found = keyed.join(broken.unique("content", keep="first"), on="content", how="left", maintain_order="left")
    return found["broken"]


def _first(reasons: list[pl.Expr]) -> pl.Expr:
    return pl.coalesce(*reasons, pl.lit(None, pl.String))
