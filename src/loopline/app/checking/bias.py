"""Bias in data, before any model: who is in it, what the label says of whom, whose values are missing."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np
import polars as pl

from loopline.app.checking.label import LabelValues
from loopline.errors import NotFound
from loopline.evaluation.groups import Group, label_by_group
from loopline.tables.proposal.columns import Columns
from loopline.tables.proposal.facts import ColumnFacts
from loopline.tables.proposal.finding import Finding
from loopline.tables.proposal.personal import SENSITIVE, mask, words

MEANING = (
    "A gap says that the label differs between groups in this data, not why, and not that it is wrong. The rows may not be "
    "those the model will meet, and the label may be unfair itself: who was checked, arrested or hired is not who should have "
    "been. A model trained on it will tend to repeat the gap. Equal rates would not show that there is none."
)
_MOST, _CUTS = 20, (0.25, 0.5, 0.75)
_FEW = 30
_SURE, _LARGE = 0.01, 0.02
_MISSING_GAP = 0.1
_OTHERS, _NONE = "(others)", "(missing)"


class MissingGap(msgspec.Struct, frozen=True):
    """A column that is missing more often in one group than in the others; shares of rows."""

    group: str
    column: str
    share: float
    others: float


class GroupTable(msgspec.Struct, frozen=True):
    """The groups of one column."""

    column: str
    groups: list[Group]
    missing: list[MissingGap]


def group_tables(columns: Columns, label: LabelValues, by: Sequence[str]) -> list[GroupTable]:
    """The label by the groups of each column in `by`, or of those whose names suggest it. Raises `NotFound`."""
    unknown = [name for name in by if name not in columns.frame.columns]
    if unknown:
        raise NotFound("check.no_group", f"there is no column {unknown[0]!r}", remedy=f"The columns are {', '.join(columns.frame.columns[:20])}.")  # fmt: skip
    chosen = list(by) or [name for name, facts in columns.facts.items() if _proposed(facts, label.facts.column)]
    return [_table(columns, label, name) for name in chosen]


def _proposed(facts: ColumnFacts, label: str) -> bool:
    usual = facts.kind in {"text", "boolean", "whole", "number"} and facts.distinct > 1
    grouped = facts.kind != "text" or facts.distinct <= max(_MOST, facts.rows // 20)
    return usual and grouped and facts.name != label and SENSITIVE.search(words(facts.name)) is not None


def _table(columns: Columns, label: LabelValues, name: str) -> GroupTable:
    groups = _groups(columns.frame[name], columns.facts[name])
    binary = label.facts.kind == "binary"
    values = label.values if label.facts.kind != "multiclass" else _largest_class(label)
    found = label_by_group(groups, values, binary=binary or label.facts.kind == "multiclass")
    return GroupTable(name, found, list(_missing(columns.frame.drop(name), groups)))


def _largest_class(label: LabelValues) -> np.ndarray:
    """Of several classes, the commonest against the rest."""
    counts = [rows for _, rows in label.facts.classes]
    most = counts.index(max(counts))
    return np.where(np.isnan(label.values), np.nan, (label.values == most).astype(np.float64))


def _groups(column: pl.Series, facts: ColumnFacts) -> np.ndarray:
    """Each row's group: its category, or the quarter of the numbers that it lies in."""
    if facts.kind in {"whole", "number"} and facts.distinct > _MOST // 2:
        texts = _quarters(column)
    else:
        texts = column.cast(pl.String)
        most = (
            texts.drop_nulls().alias("value").value_counts(name="rows").sort("rows", "value", descending=[True, False])
        )
        kept = most["value"].head(_MOST - 1) if most.height > _MOST else most["value"]
        texts = pl.select(
            pl.when(texts.is_in(kept) | texts.is_null()).then(texts).otherwise(pl.lit(_OTHERS))
        ).to_series()
        if facts.personal and facts.kind == "text":
            texts = texts.map_elements(mask, return_dtype=pl.String)
    return texts.fill_null(_NONE).to_numpy()


def _quarters(column: pl.Series) -> pl.Series:
    values = column.cast(pl.Float64)
    edges = sorted({float(cut) for share in _CUTS if (cut := values.quantile(share, "lower")) is not None})
    names = [f"up to {edges[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(edges)), f"above {edges[-1]:g}"]  # fmt: skip
    return values.cut(edges, labels=names).cast(pl.String) if edges else column.cast(pl.String)


def _missing(frame: pl.DataFrame, groups: np.ndarray) -> Iterator[MissingGap]:
    for name in frame.columns:
        missing = frame[name].is_null().to_numpy()
        if not 0 < missing.sum() < len(missing):
            continue
        for group in sorted(set(groups.tolist())):
            mine = groups == group
            if mine.sum() < _FEW or mine.all():
                continue
            share, others = float(missing[mine].mean()), float(missing[~mine].mean())
            if share - others >= _MISSING_GAP:
                yield MissingGap(str(group), name, share, others)


def group_findings(tables: Sequence[GroupTable]) -> Iterator[Finding]:
    """What stands out between groups: few rows, sure and large gaps, missing values."""
    for table in tables:
        small = [group for group in table.groups if group.rows < _FEW and group.name not in {_OTHERS, _NONE}]
        if small:
            told = ", ".join(f"{group.name} ({group.rows})" for group in small[:3])
            yield Finding(level="warning", code="few-in-group", column=table.column, message=f"{len(small)} groups have fewer than {_FEW} rows: {told}.", rows=sum(group.rows for group in small), remedy="A model cannot be judged for them.")  # fmt: skip
        sure = [group for group in table.groups if _is_sure(group)]
        if sure:
            most = max(sure, key=lambda group: abs(group.gap or 0))
            yield Finding(level="warning", code="label-gap", column=table.column, message=_gap_said(most), rows=most.labelled, remedy="See what it means and what it does not below the groups.")  # fmt: skip
        for gap in table.missing[:3]:
            message = f"{gap.column} is missing in {gap.share:.0%} of {gap.group!r}, in {gap.others:.0%} of the others."
            yield Finding(level="warning", code="missing-gap", column=table.column, message=message, remedy="Filling it in will say something else of them.")  # fmt: skip


def _is_sure(group: Group) -> bool:
    return group.p_adjusted is not None and group.p_adjusted < _SURE and abs(group.gap or 0) >= _LARGE


def _gap_said(group: Group) -> str:
    bounds = f" ({group.gap_lower:+.3f} to {group.gap_upper:+.3f})" if group.gap_lower is not None and group.gap_upper is not None else ""  # fmt: skip
    return f"the label's mean is {group.mean:.3f} for {group.name!r}, {group.gap:+.3f} from the others{bounds}."
