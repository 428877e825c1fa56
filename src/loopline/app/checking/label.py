"""The label of data that is checked: what kind it is, how its values lie, what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import polars as pl

from loopline.errors import InvalidInput, NotFound
from loopline.tables.proposal.columns import Columns
from loopline.tables.proposal.facts import ColumnFacts, plain_text
from loopline.tables.proposal.finding import Finding, Level
from loopline.training.tells import Floats, LabelKind

_POSITIVE = ("yes", "y", "true", "t", "1", "positive", "pos", "bad", "default", "churn", "churned", "fraud", "returned", "late", "won", "spam", "died", "dead", "failed", "fail")  # fmt: skip
_MOST_CLASSES, _FEW_NUMBERS = 50, 10
_RARE, _VERY_RARE, _LEAST = 0.05, 0.01, 30
_UNKNOWN = 0.05
_TWO = 2


class LabelFacts(msgspec.Struct, frozen=True):
    """What is known of the label. `classes` have their rows; `positive` is the class that a probability would be of."""

    column: str
    kind: LabelKind | None
    known: int
    unknown: int
    classes: list[tuple[str, int]] = []
    positive: str | None = None
    mean: float | None = None


@dataclass(frozen=True)
class LabelValues:
    """The facts, and the label as numbers of shape (rows,): 0 or 1, a class's place, a number; NaN where unknown.

    `expression` gives a binary label from its column (Boolean), and `code` is the same to paste.
    """

    facts: LabelFacts
    values: Floats
    positive: object = None


def label_of(columns: Columns, name: str) -> LabelValues:
    """The label in the column `name`. Raises `NotFound` without that column, and `InvalidInput` where it can be no label."""
    if not columns.frame.width:
        raise InvalidInput("check.empty", "the file is empty", remedy="Give one with a line of column names, and rows.")
    if name not in columns.frame.columns:
        there = ", ".join(columns.frame.columns[:20])
        raise NotFound("check.no_label", f"there is no column {name!r}", remedy=f"The columns are {there or 'none'}.")
    column, facts = columns.frame[name], columns.facts[name]
    kind = _kind(facts)
    known: int = facts.rows - facts.nulls
    unknown: int = facts.nulls
    if kind is None:
        return LabelValues(LabelFacts(name, None, known, unknown), np.full(len(column), np.nan))
    if kind == "regression":
        values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
        values = np.where(np.isfinite(values), values, np.nan)
        return LabelValues(LabelFacts(name, kind, known, unknown, mean=facts.mean), values)
    return _classes(column, name, kind, known, unknown)


def _kind(facts: ColumnFacts) -> LabelKind | None:
    if facts.distinct < _TWO:
        return None
    if facts.kind in {"date", "time"}:
        raise InvalidInput(
            "check.label_is_time", f"{facts.name!r} is a time, not a label", remedy="Name another column."
        )
    if facts.distinct == _TWO:
        return "binary"
    if facts.kind == "text":
        if facts.distinct > _MOST_CLASSES:
            raise InvalidInput(
                "check.label_of_many",
                f"{facts.name!r} has {facts.distinct:,} different texts, too many for classes",
                remedy="Name the column that is to be predicted.",
            )
        return "multiclass"
    return "multiclass" if facts.kind == "whole" and facts.distinct <= _FEW_NUMBERS else "regression"


def _classes(column: pl.Series, name: str, kind: LabelKind, known: int, unknown: int) -> LabelValues:
    found = column.drop_nulls().unique().sort().to_list()
    rows = [int((column == one).sum()) for one in found]
    place = _positive_place(found, rows) if kind == "binary" else None
    if place == 0:
        found, rows = found[::-1], rows[::-1]
    values = np.full(len(column), np.nan)
    for number, one in enumerate(found):
        values[(column == one).fill_null(value=False).to_numpy()] = number
    told = [(plain_text(one), count) for one, count in zip(found, rows, strict=True)]
    facts = LabelFacts(name, kind, known, unknown, told, told[-1][0] if kind == "binary" else None)
    return LabelValues(facts, values, found[-1] if kind == "binary" else None)


def _positive_place(found: list[object], rows: list[int]) -> int:
    """Which of two values is the event: by its word, else the larger number, else the rarer text."""
    said = [place for place, one in enumerate(found) if str(one).lower() in _POSITIVE]
    if len(said) == 1:
        return said[0]
    if not isinstance(found[0], str):
        return 1
    return 0 if rows[0] < rows[1] else 1


def label_findings(facts: LabelFacts) -> Iterator[Finding]:
    """What is wrong with the label itself."""
    name, total = facts.column, facts.known + facts.unknown
    if facts.kind is None:
        yield Finding(level="error", code="label-constant", column=name, message="the label has one value, or none: nothing can be learnt.")  # fmt: skip
        return
    if facts.unknown:
        level: Level = "warning" if facts.unknown > _UNKNOWN * total else "note"
        message = f"the label is missing in {facts.unknown:,} rows ({facts.unknown / total:.1%})."
        yield Finding(level=level, code="label-missing", column=name, message=message, rows=facts.unknown, remedy="Are they late, or never to be known? Missing ones may differ from the others.")  # fmt: skip
    if facts.classes:
        rarest, rows = min(facts.classes, key=lambda one: one[1])
        share = rows / max(facts.known, 1)
        if rows < _LEAST:
            yield Finding(level="warning", code="few-labels", column=name, message=f"only {rows:,} rows are labelled {rarest!r}.", rows=rows, remedy="Too few to judge a model on.")  # fmt: skip
        elif share < _RARE:
            how: Level = "warning" if share < _VERY_RARE else "note"
            yield Finding(level=how, code="imbalance", column=name, message=f"{rarest!r} is rare: {share:.2%} of the rows.", rows=rows, remedy="Accuracy says nothing here; judge by log loss, or by costs.")  # fmt: skip
