"""Fair: a measure of the candidate's decisions does not differ between groups by more than a bound."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.evaluation.bias import MISSING, masks_of
from loopline.evaluation.disparity import Gap, gaps
from loopline.evaluation.group_measures import measures, require_measure
from loopline.evaluation.kind import from_column
from loopline.gates.check import Check, Comparison, Verdict, require_confidence
from loopline.gates.chosen import chosen


class Fair(Check, frozen=True, tag="fair"):
    """No two groups of column `by` are shown to differ in `measure` by more than `at_most`, with one-sided `confidence` over all
    pairs; `strict`: each two are shown to differ by less.

    Groups with fewer than `min_rows` rows that count are reported and not judged.
    """

    measure: str
    by: str
    at_most: float
    confidence: float = 0.95
    strict: bool = False
    min_rows: int = 50

    def __post_init__(self) -> None:
        require_confidence(self.confidence)

    def examine(self, comparison: Comparison) -> Verdict:
        rows = comparison.rows
        if self.by not in rows.columns:
            raise InvalidInput(
                "gate.unknown_group",
                f"there is no column {self.by!r} to group by",
                remedy="Name a feature of the model, or a column of its bias=ll.bias(by=[...]).",
            )
        found, unjudged = self._gaps(comparison)
        passed, told = self._judge(found)
        sentence = f"By {self.by}, the {self.measure.replace('_', ' ')} of {comparison.candidate_name} {told}."
        if unjudged:
            sentence += f" Not judged, for too few rows: {', '.join(unjudged)}."
        figures: dict[str, Any] = {"gaps": [msgspec.to_builtins(gap) for gap in found], "not_judged": unjudged}
        return Verdict(f"fair {self.measure} by {self.by}", passed, sentence, figures)

    def _gaps(self, comparison: Comparison) -> tuple[list[Gap], list[str]]:
        rows = comparison.rows
        values = _measured(comparison, self.measure)
        column = rows[self.by].cast(pl.String).fill_null(MISSING).to_list()
        groups = {f"{self.by}={key[0]}": mask for key, mask in masks_of({self.by: column}).items()}
        counted = {name: int((mask & ~np.isnan(values)).sum()) for name, mask in groups.items()}
        unjudged = [name for name, count in counted.items() if count < self.min_rows]
        found = gaps(
            values,
            groups,
            rows["block"].to_numpy(),
            confidence=2 * self.confidence - 1,
            min_rows=self.min_rows,
            adjusted=not self.strict,
        )
        return found, unjudged

    def _judge(self, found: list[Gap]) -> tuple[bool, str]:
        if not found:
            return not self.strict, "is not known of two groups"
        if self.strict:
            open_ = [gap for gap in found if gap.upper is None or gap.upper > self.at_most]
            worst = max(open_, key=lambda gap: np.inf if gap.upper is None else gap.upper, default=found[0])
            return (
                not open_,
                f"is {'not ' if open_ else ''}shown to differ by less than {self.at_most:g}: {_told(worst)}",
            )
        shown = [gap for gap in found if gap.lower is not None and gap.lower > self.at_most]
        worst = max(shown, key=lambda gap: gap.lower or 0.0, default=found[0])
        return not shown, f"is {'' if shown else 'not '}shown to differ by more than {self.at_most:g}: {_told(worst)}"


def _told(gap: Gap) -> str:
    bounds = "" if gap.lower is None or gap.upper is None else f" ({gap.lower:+.4f} to {gap.upper:+.4f})"
    return f"{gap.larger} lies {gap.difference:+.4f}{bounds} above {gap.smaller}"


def _measured(comparison: Comparison, measure: str) -> npt.NDArray[np.float64]:
    """The measure row by row. Raises `InvalidInput` "gate.other_measure" where this kind of model has no such."""
    rows, output = comparison.rows, comparison.output
    outputs = output.shaped(from_column(rows["candidate"]))
    given = output.scores(outputs) if output.kind == "quantile" else outputs
    nothing = np.full(rows.height, np.nan)
    decided = "candidate_decision" in rows.columns
    picked = chosen(rows["candidate_decision"].to_numpy()) if decided else nothing
    costs = rows["candidate_cost"].to_numpy() if "candidate_cost" in rows.columns else nothing
    found = measures(output.kind, given, rows["label"].to_numpy(), picked, costs)
    if measure not in found:
        raise InvalidInput(
            "gate.other_measure",
            f"groups of a {output.kind} model are not measured by their {measure}",
            remedy=f"Use one of {', '.join(found)}.",
        )
    return found[measure]


def fair(
    measure: str,
    *,
    by: str,
    at_most: float,
    confidence: float = 0.95,
    strict: bool = False,
    min_rows: int = 50,
) -> Fair:
    """No two groups of column `by` may be shown to differ in this measure by more than `at_most`; with `strict` each two must
    be shown to differ by less.

    Measures are those of `group_measures`, e.g. "false_negative_rate", "selection_rate", "cost", "absolute_error". Raises
    `NotFound` for an unknown one, `InvalidInput` for a confidence outside of (0.5, 1) or a negative bound.
    """
    require_measure(measure)
    if not at_most >= 0 or min_rows < 1:
        raise InvalidInput(
            "gate.fair_terms",
            f"no gate follows from at_most={at_most} and min_rows={min_rows}",
            remedy="Give the largest difference that is allowed, 0 or more, and min_rows of 1 or more.",
        )
    return Fair(measure, by, at_most, confidence, strict, min_rows)
