"""Better: the candidate's loss is lower than the champion's on the same rows, beyond chance."""

from typing import Any

import msgspec

from loopline.evaluation.intervals import paired_by_block
from loopline.evaluation.losses import named
from loopline.gates.check import Check, Comparison, Verdict, require_confidence


class Better(Check, frozen=True, tag="better"):
    """The mean loss of the candidate minus the champion's lies below 0 with one-sided `confidence`.

    Rows of one block move together, so the interval is over blocks (see `evaluation.intervals`).
    """

    loss: str = "log_loss"
    confidence: float = 0.9

    def __post_init__(self) -> None:
        require_confidence(self.confidence)

    def examine(self, comparison: Comparison) -> Verdict:
        rows = comparison.losses(self.loss)
        candidate, champion = rows["candidate_loss"].to_numpy(), rows["champion_loss"].to_numpy()
        found = paired_by_block(candidate, champion, rows["block"].to_numpy(), confidence=2 * self.confidence - 1)
        passed = found.upper < 0
        figures: dict[str, Any] = {
            "candidate": float(candidate.mean()),
            "champion": float(champion.mean()),
            "difference": msgspec.to_builtins(found),
        }
        sentence = (
            f"{comparison.candidate_name} has a {self.loss} of {candidate.mean():.4f} against {champion.mean():.4f} of "
            f"{comparison.champion_name}: a difference of {found.mean:+.4f} ({found.lower:+.4f} to {found.upper:+.4f}) "
            f"over {found.blocks} blocks, {'better' if passed else 'not shown to be better'}."
        )
        return Verdict("better", passed, sentence, figures)


def better(loss: str = "log_loss", *, confidence: float = 0.9) -> Better:
    """The candidate must be better than the champion in this loss, with this one-sided confidence.

    Raises `InvalidInput` for a confidence outside of (0.5, 1) and `NotFound` for an unknown loss.
    """
    named(loss)
    return Better(loss, confidence)
