"""What changed from one file to another: columns, types, distributions."""

from collections.abc import Iterator

import msgspec
import polars as pl

from loopline.monitoring.drift import diagnose
from loopline.monitoring.profile import profile, reference_profile
from loopline.tables.proposal.columns import Columns
from loopline.tables.proposal.facts import ColumnFacts
from loopline.tables.proposal.finding import Finding

_LARGE = 0.1
_MOST = 1_000
_NUMBERS = {"whole", "number"}
_MISSING = 0.02


class Change(msgspec.Struct, frozen=True):
    """How far a column moved. `distance` is Jensen and Shannon's, 0 to 1; `usual` what chance alone would do with so many rows."""

    column: str
    distance: float
    usual: float
    psi: float
    sentence: str


def changes(reference: Columns, current: Columns) -> tuple[list[Change], list[Finding]]:
    """Columns whose distribution differs beyond chance, the furthest first, and what else changed.

    Ids, times, free text and what may be about persons are compared by what is missing alone.
    """
    findings = [*_columns(reference, current)]
    names = [name for name in reference.facts if _comparable(name, reference, current)]
    if not (reference.frame.height and current.frame.height):
        findings.append(Finding(level="error", code="nothing-to-compare", message="one of the files has no rows."))
        return [], findings
    if not names:
        return [], findings
    before, now = _alike(reference, names), _alike(current, names)
    frozen = reference_profile([before])
    names = [name for name in names if name in frozen.profile.numbers or name in frozen.profile.categories]
    moved = diagnose(frozen, profile(now.select(names), frozen.binning))
    found = [Change(one.column, one.effect, one.usual, one.drift.psi, one.sentence) for one in moved]
    findings += [
        Finding(
            level="warning" if one.distance >= _LARGE else "note", code="drift", column=one.column, message=one.sentence
        )
        for one in found
    ]
    return found, findings


def _columns(reference: Columns, current: Columns) -> Iterator[Finding]:
    for name in reference.facts:
        if name not in current.facts:
            yield Finding(level="error", code="column-gone", column=name, message="the other file does not have it.")
        elif not _same_kind(reference.facts[name], current.facts[name]):
            message = f"it was {reference.facts[name].kind} and is {current.facts[name].kind}."
            yield Finding(level="error", code="type-changed", column=name, message=message)
        else:
            yield from _times(reference.facts[name], current.facts[name])
            yield from _missing(reference.facts[name], current.facts[name])
    new = [name for name in current.facts if name not in reference.facts]
    for name in new:
        yield Finding(level="note", code="column-new", column=name, message="only the other file has it.")


def _times(before: ColumnFacts, now: ColumnFacts) -> Iterator[Finding]:
    if before.kind in {"time", "date"} and before.low and now.low:
        message = f"from {before.low} to {before.high} here, from {now.low} to {now.high} there."
        yield Finding(level="note", code="period", column=before.name, message=message)


def _missing(before: ColumnFacts, now: ColumnFacts) -> Iterator[Finding]:
    """Of columns whose values are not compared; for the others the drift tells it."""
    if not _has_groups(before) and abs(now.null_share - before.null_share) > _MISSING:
        message = f"missing in {before.null_share:.1%} here, in {now.null_share:.1%} there."
        yield Finding(level="warning", code="missing-changed", column=before.name, message=message)


def _comparable(name: str, reference: Columns, current: Columns) -> bool:
    before, now = reference.facts[name], current.facts.get(name)
    return now is not None and _same_kind(before, now) and _has_groups(before) and before.kind != "nothing"


def _has_groups(facts: ColumnFacts) -> bool:
    if facts.personal or facts.kind in {"time", "date"}:
        return False
    is_id = facts.distinct == facts.rows - facts.nulls and facts.kind in {"whole", "text"} and facts.distinct > 2  # noqa: PLR2004 - two rows
    return not is_id and (facts.kind != "text" or facts.distinct <= _MOST)


def _same_kind(before: ColumnFacts, now: ColumnFacts) -> bool:
    if "nothing" in {before.kind, now.kind}:
        return True
    return before.kind == now.kind or {before.kind, now.kind} <= _NUMBERS


def _alike(columns: Columns, names: list[str]) -> pl.DataFrame:
    made = []
    for name in names:
        column = columns.frame[name]
        made.append(column.cast(pl.Float64) if column.dtype.is_numeric() else column)
    return pl.DataFrame(made)
