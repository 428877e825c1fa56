"""A figure of what a model predicts that is held to nothing, but told of where it moves for good, as it is declared."""

from collections.abc import Sequence

import msgspec

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.monitoring.risk import CHANGE, Risk

SCORE, ROWS, DECISION, LATENCY = "score", "rows", "decision", "latency_ms"
SHARES = ("degraded", "fallback", "unanswered", "abstained")
"""What is so of a prediction, or not."""

_LEAST_APART = 10


class Change(msgspec.Struct, frozen=True, tag="change"):
    """A figure of the predictions of each block has moved for good, in its level or its spread; then the new one is taken as usual.

    `of` is `"score"` (the mean), `"rows"` (how many there are), the name of a feature that is a number (the mean), `"latency_ms"` (the mean), `"degraded"`,
    `"fallback"`, `"unanswered"`, `"abstained"` (the share), or `"decision=..."` and `"FEATURE=..."` (the share of rows of which that is so).
    It needs no labels and is held to nothing: what is usual is learnt from 30 blocks. Blocks of fewer than `min_rows` are left out.
    """

    of: str
    block: str = "1d"
    false_pages_per_year: float = 1.0
    min_rows: int = 30
    pages: bool = True

    @property
    def risk(self) -> Risk:
        """How blocks are cut and what the budget is."""
        least = 1 if self.of == ROWS else self.min_rows
        return Risk(CHANGE + self.of, 1.0, self.block, self.false_pages_per_year, "none", least)

    @property
    def asked(self) -> tuple[str, str]:
        """The column and the value whose share is watched; without a value the figure itself."""
        name, _, value = self.of.partition("=")
        return name, value

    def __post_init__(self) -> None:
        if not self.of or self.risk.threshold < _LEAST_APART:
            raise InvalidInput(
                "monitor.change",
                f"{self} declares no change to watch for",
                remedy=f'Write e.g. ll.Change("score"), with at most one false page in {_LEAST_APART} blocks.',
            )


def require_figure(change: Change, output: Output, features: Sequence[str]) -> None:
    """Raise `InvalidInput` where predictions of this output and these features have no such figure."""
    name, value = change.asked
    figures = [ROWS, LATENCY, *SHARES, *([SCORE] if output.column == SCORE else [])]
    if name not in ([DECISION, *features] if value else [*figures, *features]):
        raise InvalidInput(
            "monitor.no_figure",
            f"{change.of!r} is no figure of the predictions of this {output.kind} model",
            remedy=f"Use one of {', '.join(figures)}, decision=..., or a feature: {', '.join(features)}.",
        )


def figure_name(model: str, change: Change) -> str:
    """What is watched, in a sentence."""
    name, value = change.asked
    if value:
        return f"the share of predictions of {model} with {name} {value}"
    if name == ROWS:
        return f"the number of predictions of {model} a block"
    return f"the share of predictions of {model} that are {name}" if name in SHARES else f"the mean {name} of {model}"
