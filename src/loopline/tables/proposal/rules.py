"""Expectations that the rows keep, as expressions and as the code to paste."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from loopline.tables.proposal.facts import ColumnFacts
from loopline.tables.proposal.reading import literal

_CATEGORIES = 12
_LEAST_EACH = 5
_SHARE = 1.0


@dataclass(frozen=True)
class Rule:
    """An expectation: where it is false the row is bad; null passes."""

    name: str
    expression: pl.Expr
    code: str


def rules_for(
    frame: pl.DataFrame, facts: Mapping[str, ColumnFacts], named: Mapping[str, str], exclude: set[str]
) -> list[Rule]:
    """Rules for the columns of `frame` under the names that `named` gives them: those that hold, and that say something.

    Texts about persons are never written into a rule.
    """
    made = [rule for name in facts if name not in exclude for rule in _rules(frame[name], facts[name], named[name])]
    renamed = frame.rename(dict(named))
    return [rule for rule in made if holds(renamed, rule)]


def holds(frame: pl.DataFrame, rule: Rule) -> bool:
    """Whether no row breaks the rule."""
    return not bool(frame.select((~rule.expression).any()).item())


def _rules(column: pl.Series, fact: ColumnFacts, name: str) -> Iterator[Rule]:
    if fact.rows < 2 or fact.kind == "nothing":  # noqa: PLR2004 - one row says nothing
        return
    said = f"pl.col({literal(name)})"
    if not fact.nulls:
        yield Rule(f"{name}_is_there", pl.col(name).is_not_null(), f"{said}.is_not_null()")
    if fact.kind in {"whole", "number"} and not fact.personal:
        yield from _number_rules(column, name, said)
    if fact.kind == "text" and not fact.personal and 1 < fact.distinct <= _CATEGORIES:
        counted = column.drop_nulls().alias("value").value_counts(name="rows")
        if bool((counted["rows"] >= _LEAST_EACH).all()):
            known = sorted(column.drop_nulls().unique().to_list())
            yield Rule(f"{name}_is_known", pl.col(name).is_in(known), f"{said}.is_in({literal(known)})")


def _number_rules(column: pl.Series, name: str, said: str) -> Iterator[Rule]:
    low, high = column.min(), column.max()
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
        return
    if low >= 0 and high <= _SHARE and column.dtype.is_float():
        yield Rule(f"{name}_is_a_share", pl.col(name).is_between(0, 1), f"{said}.is_between(0, 1)")
    elif low > 0:
        yield Rule(f"{name}_is_positive", pl.col(name) > 0, f"{said} > 0")
    elif low == 0:
        yield Rule(f"{name}_is_not_negative", pl.col(name) >= 0, f"{said} >= 0")
