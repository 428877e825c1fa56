"""Not worse: in no slice is the candidate's loss shown to be higher than the champion's."""

from typing import Any

import msgspec
import polars as pl

from loopline.errors import InvalidInput
from loopline.evaluation.intervals import SliceInterval, by_slice
from loopline.evaluation.losses import named
from loopline.evaluation.slices import slices_of
from loopline.gates.check import Check, Comparison, Verdict, require_confidence


class NotWorse(Check, frozen=True, tag="not_worse"):
    """No slice of column `by` has a mean loss that rose by more than `margin`, beyond chance at `confidence` over all slices.

    Slices with fewer than `min_rows` rows are reported and not judged: on so few rows nothing could be shown. The levels
    of the slices are adjusted together by Holm's method, so that many slices do not mean many false alarms.
    """

    by: str
    loss: str = "log_loss"
    margin: float = 0.0
    confidence: float = 0.95
    min_rows: int = 100

    def __post_init__(self) -> None:
        require_confidence(self.confidence)

    def examine(self, comparison: Comparison) -> Verdict:
        rows = comparison.rows
        if self.by not in rows.columns:
            raise InvalidInput(
                "gate.unknown_slice",
                f"there is no column {self.by!r} to slice by",
                remedy=f"Slice by one of: {', '.join(rows.columns)}.",
            )
        worse, found = self._worse(comparison.losses(self.loss))
        figures: dict[str, Any] = {
            "slices": [msgspec.to_builtins(one) for one in found],
            "rows_not_judged": rows.height - sum(one.interval.rows for one in found),
        }
        told = f"worse in {', '.join(worse)}" if worse else f"not shown to be worse in any of {len(found)} slices"
        sentence = f"By {self.by}, {comparison.candidate_name} is {told} than {comparison.champion_name}."
        return Verdict(f"not_worse by {self.by}", not worse, sentence, figures)

    def _worse(self, rows: pl.DataFrame) -> tuple[list[str], list[SliceInterval]]:
        if rows.height == 0:
            return [], []
        found = by_slice(
            rows["candidate_loss"].to_numpy(),
            rows["champion_loss"].to_numpy(),
            rows["block"].to_numpy(),
            slices_of(rows[self.by], at_most=rows[self.by].n_unique(), min_rows=self.min_rows),
            margin=self.margin,
        )
        return [one.name for one in found if one.p_adjusted <= 1 - self.confidence], found


def not_worse(loss: str = "log_loss", *, by: str, margin: float = 0.0, confidence: float = 0.95) -> NotWorse:
    """In no slice of column `by` may the candidate be shown to be worse than the champion by more than `margin`.

    Raises `InvalidInput` for a confidence outside of (0.5, 1) and `NotFound` for an unknown loss.
    """
    named(loss)
    return NotWorse(by=by, loss=loss, margin=margin, confidence=confidence)
