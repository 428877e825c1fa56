"""The bias report: what a model does to groups of people, measured alike for each, and how far apart the groups are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.evaluation.disparity import Figure, Gap, figure, gaps
from loopline.evaluation.metric_frame import by_group
from loopline.values import canonical_json

BIAS = "bias_report"
"""Under this name a version's lineage and run have the digest of its report."""

MISSING = "(missing)"

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Blocks = npt.NDArray[np.generic]

_UNCOMPARED = {"base_rate"}  # what is true of the groups, whatever the model does


@dataclass(frozen=True)
class Bias:
    """Whose groups are compared: `by` are named expressions over the rows that the model answers for."""

    by: tuple[tuple[str, pl.Expr], ...]
    min_rows: int
    confidence: float
    intersections: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns of groups."""
        return tuple(name for name, _ in self.by)

    def describe(self) -> dict[str, object]:
        """As plain values, for plans."""
        return {
            "by": {name: str(expression) for name, expression in self.by},
            "min_rows": self.min_rows,
            "confidence": self.confidence,
            "intersections": self.intersections,
        }


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group by name, e.g. `sex=F, age_group=old`. One of too few rows has no figures: they would say more of persons than of
    the model.
    """

    name: str
    rows: int
    figures: dict[str, Figure]


class Disparity(msgspec.Struct, frozen=True, kw_only=True):
    """The widest gap of a measure between groups; its bounds hold over all pairs together. `ratio` is the smaller figure
    over the larger one, None where that is not positive.
    """

    gap: Gap
    ratio: float | None
    pairs: int


class Grouping(msgspec.Struct, frozen=True, kw_only=True):
    """The groups by one column, or by several at once."""

    by: tuple[str, ...]
    groups: tuple[Group, ...]
    not_judged: tuple[str, ...]
    disparities: dict[str, Disparity]

    @property
    def demographic_parity(self) -> float | None:
        """The widest gap of the selection rates."""
        return self.disparities["selection_rate"].gap.difference if "selection_rate" in self.disparities else None

    @property
    def equalized_odds(self) -> float | None:
        """The wider of the gaps of false positive and false negative rates; None unless both are known.

        Hardt, Price and Srebro, Equality of opportunity in supervised learning, 2016.
        """
        both = [self.disparities.get(name) for name in ("false_positive_rate", "false_negative_rate")]
        known = [found.gap.difference for found in both if found is not None]
        return max(known) if len(known) == len(both) else None


class BiasReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a model of `kind` does to groups on `rows` rows; `of_rows` says which."""

    kind: str
    rows: int
    of_rows: str
    min_rows: int
    confidence: float
    groupings: tuple[Grouping, ...]

    def encoded(self) -> bytes:
        """Canonical JSON: what is kept as an artifact."""
        return canonical_json(self)


def bias(
    by: Sequence[str | pl.Expr] | Mapping[str, pl.Expr],
    *,
    min_rows: int = 50,
    confidence: float = 0.95,
    intersections: bool = True,
) -> Bias:
    """Compare groups of the rows a model answers for: by columns of their table, or named expressions over them.

    The columns need not be features of the model and are kept out of its matrix. Groups of fewer than `min_rows` rows are
    listed and not judged. `intersections` also compares groups by every two columns at once. Raises `InvalidInput` for no
    columns, an expression without a name, and figures that make no sense.
    """
    named = list(by.items()) if isinstance(by, Mapping) else [_named(one) for one in by]
    names = [name for name, _ in named]
    if not named or len(set(names)) < len(names):
        raise InvalidInput(
            "bias.columns", f"{names} does not name groups", remedy='Name different columns, e.g. by=["sex"].'
        )
    if min_rows < 1 or not 0 < confidence < 1:
        raise InvalidInput(
            "bias.terms",
            f"no groups are compared with min_rows={min_rows} and confidence={confidence}",
            remedy="Give min_rows of 1 or more and a confidence between 0 and 1.",
        )
    return Bias(tuple(named), min_rows, confidence, intersections)


def bias_report(
    measures: Mapping[str, Floats],
    groups: Mapping[str, Sequence[str | None]],
    blocks: Blocks,
    *,
    kind: str,
    of_rows: str,
    min_rows: int = 50,
    confidence: float = 0.95,
    intersections: bool = True,
) -> BiasReport:
    """The report of `measures` (see `group_measures.measures`), with what group each row is of, by column; null is a group
    of its own. `blocks` (rows,) say what moves together, e.g. the day. Raises `InvalidInput` without rows.
    """
    if not len(blocks):
        raise InvalidInput("bias.no_rows", "there are no rows to compare groups on", remedy="Wait for labels.")
    columns = {name: [MISSING if one is None else one for one in column] for name, column in groups.items()}
    wanted: list[tuple[str, ...]] = [(name,) for name in columns]
    wanted += combinations(columns, 2) if intersections else []
    return BiasReport(
        kind=kind,
        rows=len(blocks),
        of_rows=of_rows,
        min_rows=min_rows,
        confidence=confidence,
        groupings=tuple(
            _grouping(measures, {name: columns[name] for name in by}, blocks, confidence=confidence, min_rows=min_rows)
            for by in wanted
        ),
    )


def masks_of(columns: Mapping[str, Sequence[str]]) -> dict[tuple[str, ...], Mask]:
    """Which rows each group has, by its names; in the order of the names."""
    keys = list(zip(*columns.values(), strict=True))
    found: dict[tuple[str, ...], list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return {key: _mask(found[key], len(keys)) for key in sorted(found)}


def _grouping(
    measures: Mapping[str, Floats],
    columns: Mapping[str, Sequence[str]],
    blocks: Blocks,
    *,
    confidence: float,
    min_rows: int,
) -> Grouping:
    by, masks, means = tuple(columns), masks_of(columns), by_group(measures, columns)
    made = [
        (_name(by, key), mask, _figures(measures, mask, means[key], blocks, confidence, min_rows))
        for key, mask in masks.items()
    ]
    enough = {name: mask for name, mask, _ in made if mask.sum() >= min_rows}
    return Grouping(
        by=by,
        groups=tuple(Group(name=name, rows=int(mask.sum()), figures=figures) for name, mask, figures in made),
        not_judged=tuple(name for name, mask, _ in made if mask.sum() < min_rows),
        disparities=dict(_disparities(measures, enough, blocks, confidence, min_rows)),
    )


def _figures(
    measures: Mapping[str, Floats],
    mask: Mask,
    means: Mapping[str, float],
    blocks: Blocks,
    confidence: float,
    min_rows: int,
) -> dict[str, Figure]:
    if mask.sum() < min_rows:
        return {}
    found = {
        name: figure(values[mask], blocks[mask], confidence=confidence, min_rows=min_rows)
        for name, values in measures.items()
    }
    return {name: msgspec.structs.replace(one, value=means[name]) for name, one in found.items() if one.rows}


def _disparities(
    measures: Mapping[str, Floats], groups: Mapping[str, Mask], blocks: Blocks, confidence: float, min_rows: int
) -> Iterator[tuple[str, Disparity]]:
    for name, values in measures.items():
        found = [] if name in _UNCOMPARED else gaps(values, groups, blocks, confidence=confidence, min_rows=min_rows)
        if found:
            larger = float(np.nanmean(values[groups[found[0].larger]]))
            smaller = float(np.nanmean(values[groups[found[0].smaller]]))
            ratio = smaller / larger if larger > 0 and smaller >= 0 else None
            yield name, Disparity(gap=found[0], ratio=ratio, pairs=len(found))


def _named(one: str | pl.Expr) -> tuple[str, pl.Expr]:
    expression = pl.col(one) if isinstance(one, str) else one
    return expression.meta.output_name(), expression


def _name(by: Sequence[str], key: Sequence[str]) -> str:
    return ", ".join(f"{column}={value}" for column, value in zip(by, key, strict=True))


def _mask(places: list[int], count: int) -> Mask:
    mask = np.zeros(count, dtype=np.bool_)
    mask[places] = True
    return mask
