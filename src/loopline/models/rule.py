"""A rule that answers where no model can: conditions on columns, read once where they are declared, and compared as plain values after that.

No code of a rule runs in a scoring process: what travels is a list of (column, comparison, value).
"""

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from operator import ge, gt, le, lt
from typing import Any, Literal

import msgspec

from loopline.errors import InvalidInput

Comparison = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not in", "is null", "is not null"]
Output = float | tuple[float, ...]

_LONGEST = 100
_COMPARISONS: Mapping[type[ast.cmpop], Comparison] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is null",
    ast.IsNot: "is not null",
}
_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


class Condition(msgspec.Struct, frozen=True):
    """A comparison of a column's value; `values` has one value, several for `in` and `not in`, none for `is null`."""

    column: str
    comparison: Comparison
    values: tuple[float | str, ...] = ()

    def holds(self, value: Any) -> bool:
        """Whether it is so for a value. A missing value is null and nothing else; a text and a number are never compared."""
        missing = value is None or value != value  # noqa: PLR0124 - only NaN differs from itself
        if self.comparison in {"is null", "is not null"}:
            return missing == (self.comparison == "is null")
        if missing or not isinstance(value, (str, Real)):
            return False
        alike = [one for one in self.values if isinstance(one, str) == isinstance(value, str)]
        if self.comparison in _ORDERED:
            return bool(alike) and _ORDERED[self.comparison](value, alike[0])
        return (value in alike) == (self.comparison in {"==", "in"})


class Clause(msgspec.Struct, frozen=True):
    """An output for the rows of which every condition holds."""

    conditions: tuple[Condition, ...]
    output: Output


class Rule(msgspec.Struct, frozen=True):
    """Clauses, of which the first that holds gives the output, and the output where none does."""

    clauses: tuple[Clause, ...]
    otherwise: Output

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are looked at."""
        return tuple(dict.fromkeys(one.column for clause in self.clauses for one in clause.conditions))

    def output(self, value: Callable[[str], Any]) -> tuple[Output, int]:
        """The output for a row of which `value` gives the columns, and the clause that gave it, from 1; 0 where none held."""
        for number, clause in enumerate(self.clauses, 1):
            if all(one.holds(value(one.column)) for one in clause.conditions):
                return clause.output, number
        return self.otherwise, 0


def rule(clauses: Sequence[tuple[str, float | Sequence[float]]], *, otherwise: float | Sequence[float]) -> Rule:
    """Declare a rule: pairs of a condition and an output, such as `("distance > 2000 and carrier in ['AA', 'UA']", 0.4)`.

    A condition compares columns with numbers and texts (`== != < <= > >= in`, `not in`, `is None`, `is not None`), joined by `and`. Raises
    `InvalidInput` "rule.unreadable".
    """
    if not 0 < len(clauses) <= _LONGEST:
        raise _unreadable(f"{len(clauses)} clauses")
    return Rule(tuple(Clause(_conditions(text), _output(given)) for text, given in clauses), _output(otherwise))


def _conditions(text: str) -> tuple[Condition, ...]:
    try:
        read = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise _unreadable(repr(text)) from error
    parts = read.values if isinstance(read, ast.BoolOp) and isinstance(read.op, ast.And) else [read]
    return tuple(_condition(part, text) for part in parts)


def _condition(part: ast.expr, text: str) -> Condition:
    if not isinstance(part, ast.Compare) or not isinstance(part.left, ast.Name) or len(part.ops) != 1:
        raise _unreadable(repr(text))
    comparison = _COMPARISONS[type(part.ops[0])]
    try:
        said = ast.literal_eval(part.comparators[0])
    except ValueError as error:
        raise _unreadable(repr(text)) from error
    if comparison in {"is null", "is not null"}:
        if said is not None:
            raise _unreadable(repr(text))
        return Condition(part.left.id, comparison)
    several = isinstance(said, (list, tuple, set))
    if several != (comparison in {"in", "not in"}):
        raise _unreadable(repr(text))
    return Condition(part.left.id, comparison, tuple(_value(one, text) for one in (said if several else [said])))


def _value(said: object, text: str) -> float | str:
    if isinstance(said, str):
        return said
    if isinstance(said, (int, float)) and not isinstance(said, bool):
        return float(said)
    raise _unreadable(repr(text))


def _output(given: float | Sequence[float]) -> Output:
    values = [float(one) for one in given] if isinstance(given, Sequence) else [float(given)]
    if not values or not all(map(math.isfinite, values)):
        raise _unreadable(f"the output {given!r}")
    return tuple(values) if isinstance(given, Sequence) else values[0]


def _unreadable(what: str) -> InvalidInput:
    return InvalidInput(
        "rule.unreadable",
        f"{what} cannot be read as part of a rule",
        remedy=f"Write 1 to {_LONGEST} pairs like (\"distance > 2000 and carrier in ['AA', 'UA']\", 0.4): comparisons of a column "
        "with a number or a text, joined by `and`, and a finite output.",
    )
