"""What a decision is expected to cost before any label is known, and a decision at a threshold that a person names."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.decisions.choice import ChoiceDecision
from loopline.decisions.decision import AnyDecision
from loopline.decisions.policy import ABSTAIN, NEGATIVE, POSITIVE, Decision, DecisionSpec
from loopline.errors import InvalidInput, Unavailable

Floats = npt.NDArray[np.float64]


def expected_costs(prices: Decision, taken: npt.ArrayLike, scores: npt.ArrayLike) -> Floats:
    """The expected cost of each decision `taken` at the prices of `prices`, where the scores are calibrated probabilities.

    Both of shape (rows,). A positive costs `fp (1 - p)`, a negative `fn p`, an abstention `review`; NaN for a score that is.
    """
    decided, p = np.asarray(taken), np.asarray(scores, dtype=np.float64)
    acted = np.where(decided == POSITIVE, prices.false_positive * (1 - p), prices.false_negative * p)
    return np.where(decided == ABSTAIN, prices.review, acted)


def at_threshold(spec: DecisionSpec, threshold: float) -> Decision:
    """The decision at a threshold that was chosen by other means than its costs; nothing abstains.

    Raises `InvalidInput` for a threshold outside of [0, 1], or where a share that abstains is asked for as well.
    """
    if not 0 <= threshold <= 1:
        raise InvalidInput(
            "decision.threshold", f"a threshold of {threshold} is no probability", remedy="Give one from 0 to 1."
        )
    if spec.abstain_at_most:
        raise InvalidInput(
            "decision.threshold_and_band",
            "a band to abstain in follows from costs, not from a threshold that is given",
            remedy="Give --threshold with --abstain-at-most 0, or leave --threshold out.",
        )
    return Decision(spec.false_positive, spec.false_negative, spec.review, threshold, threshold, threshold)


def smoke_test(decision: Decision, scores: npt.ArrayLike, *, abstain_at_most: float = 1.0) -> None:
    """Let the decision decide `scores` (rows,). Raises `Unavailable` where more abstain than may, or its numbers are in no order."""
    p = np.asarray(scores, dtype=np.float64)
    ordered = 0 <= decision.abstain_low <= decision.threshold <= decision.abstain_high <= 1
    abstained = float((decision.decide(p) == ABSTAIN).mean()) if len(p) else 0.0
    if not ordered or abstained > abstain_at_most:
        raise Unavailable(
            "decision.smoke_test_failed",
            f"{decision} lets {100 * abstained:.1f} % abstain on its reference",
            remedy="Fit it again, or bring an earlier decision back with `loopline decisions rollback`.",
        )


def extra_cost(decision: AnyDecision, output: Any, decided: str) -> Callable[[str], float] | None:
    """What an action is expected to cost above the one decided, given calibrated outputs of one row; None for amounts."""
    if isinstance(decision, Decision):
        p = float(output)
        costs = {POSITIVE: decision.false_positive * (1 - p), NEGATIVE: decision.false_negative * p}
    elif isinstance(decision, ChoiceDecision):
        expected = np.asarray(output, dtype=np.float64) @ np.asarray(decision.costs)
        costs = dict(zip(decision.classes, expected.tolist(), strict=True))
    else:
        return None
    return lambda action: costs[action] - costs[decided]
