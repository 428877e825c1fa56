"""Gates: checks that a candidate must pass on the same rows as the champion before it may serve."""

from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl

from loopline.errors import InvalidInput
from loopline.evaluation.kind import BINARY, Output, from_column
from loopline.evaluation.losses import require_fit


class Comparison(msgspec.Struct, frozen=True):
    """Candidate and champion on the same rows, none of which the candidate was trained on.

    `rows` has `block` (what moves together, e.g. the day), `label`, `candidate` and `champion` (outputs of the kind `output`,
    lists where a row has several), `_group` for rankings, and the columns to slice by. `champion_name` says what the candidate
    is compared with: a version, or the fallback.
    """

    rows: pl.DataFrame
    candidate_name: str
    champion_name: str
    output: Output = BINARY

    def losses(self, name: str) -> pl.DataFrame:
        """`rows` with the columns `candidate_loss` and `champion_loss`: those rows that are judged, which for a loss of groups
        is the first of each. Raises `NotFound` and `InvalidInput` for a loss that does not judge this kind of model.
        """
        loss, rows = require_fit(name, self.output), self.rows
        labels = rows["label"].to_numpy()
        groups = rows["_group"].to_numpy() if "_group" in rows.columns else None
        judged = {
            f"{side}_loss": pl.Series(loss.rows(self.output.shaped(from_column(rows[side])), labels, groups))
            for side in ("candidate", "champion")
        }
        return rows.with_columns(**judged).filter(pl.all_horizontal(pl.col(*judged).is_not_nan()))


class Verdict(msgspec.Struct, frozen=True):
    """What one check found: passed or not, a sentence for people, the figures for programs."""

    check: str
    passed: bool
    sentence: str
    figures: dict[str, Any]


class Check(msgspec.Struct, frozen=True, tag=True):
    """Base of all checks. A check is pure: the same comparison gives the same verdict."""

    def examine(self, comparison: Comparison) -> Verdict:
        raise NotImplementedError


def require_confidence(confidence: float) -> None:
    """Raise `InvalidInput` unless it lies strictly between a half, which is a coin's, and 1, which nothing reaches."""
    if not 0.5 < confidence < 1:  # noqa: PLR2004 - a half is a half
        raise InvalidInput(
            "gate.confidence",
            f"no check can have a confidence of {confidence}",
            remedy="Give one above 0.5 and below 1, e.g. 0.9.",
        )


def examine_all(checks: Sequence[Check], comparison: Comparison) -> list[Verdict]:
    """The verdict of every check, in order. All are asked, so that evidence is whole. Raises `InvalidInput` for no rows."""
    if comparison.rows.height == 0:
        raise InvalidInput(
            "gate.no_rows",
            f"there are no labelled rows to compare {comparison.candidate_name} with {comparison.champion_name} on",
            remedy="Wait for labels, or lengthen the model's holdout.",
        )
    return [check.examine(comparison) for check in checks]
