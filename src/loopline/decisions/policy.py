"""The decision: what a score is turned into, given what mistakes cost. A versioned object apart from the model."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]

POSITIVE, NEGATIVE, ABSTAIN = "positive", "negative", "abstain"


class DecisionSpec(msgspec.Struct, frozen=True, tag="costs"):
    """What a person declares: costs in one unit of their choice, and the share of predictions that may go to review."""

    false_positive: float
    false_negative: float
    review: float
    abstain_at_most: float = 0.0


class Decision(msgspec.Struct, frozen=True, tag="threshold"):
    """A fitted decision, JSON-serialisable: costs, the threshold on the calibrated probability, and the band that abstains.

    A score in the open interval (`abstain_low`, `abstain_high`) abstains, any other is positive from `threshold` on. An
    empty band has both ends on the threshold.
    """

    false_positive: float
    false_negative: float
    review: float
    threshold: float
    abstain_low: float
    abstain_high: float

    def decide(self, scores: npt.ArrayLike) -> npt.NDArray[np.str_]:
        """`"positive"`, `"negative"` or `"abstain"` for each of `scores` (any shape). A score that is NaN abstains."""
        p = np.asarray(scores, dtype=np.float64)
        unsure = ((p > self.abstain_low) & (p < self.abstain_high)) | np.isnan(p)
        return np.where(unsure, ABSTAIN, np.where(p >= self.threshold, POSITIVE, NEGATIVE))

    def decide_each(self, scores: npt.NDArray[np.floating[Any]]) -> list[str]:
        """As `decide`, for scores of shape (rows,). Sooner than by numpy, which makes a text of its own for each."""
        low, high, threshold = self.abstain_low, self.abstain_high, self.threshold
        return [
            ABSTAIN if low < score < high or score != score else POSITIVE if score >= threshold else NEGATIVE  # noqa: PLR0124 - only NaN differs from itself
            for score in scores.tolist()
        ]

    def cost(self, decisions: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """What each decision cost once the label is known: nothing when right, `review` when it abstained.

        `decisions` as `decide` gives them, `y` 0, 1 or NaN for not known; a row without a label costs NaN unless it
        abstained. Raises `InvalidInput` for other decisions.
        """
        taken, labels = np.asarray(decisions), np.asarray(y, dtype=np.float64)
        _check_decisions(taken)
        mistakes = np.where(taken == POSITIVE, self.false_positive * (1 - labels), self.false_negative * labels)
        return np.where(taken == ABSTAIN, self.review, mistakes)


def costs(
    false_positive: float, false_negative: float, review: float | None = None, abstain_at_most: float = 0.0
) -> DecisionSpec:
    """Declare a decision by its costs. A review costs half of the cheaper mistake unless said otherwise.

    Raises `InvalidInput` unless the costs of both mistakes are positive, `review` is not negative, and `abstain_at_most`
    is a share in [0, 1].
    """
    spec = DecisionSpec(
        float(false_positive),
        float(false_negative),
        float(min(false_positive, false_negative) / 2 if review is None else review),
        float(abstain_at_most),
    )
    _check_spec(spec)
    return spec


def fit(spec: DecisionSpec, reference_scores: npt.ArrayLike) -> Decision:
    """The decision of least expected cost for calibrated probabilities, with at most the declared share abstaining.

    `reference_scores` (rows,) are calibrated probabilities on rows such as will be scored; they only size the band. The
    threshold is `fp / (fp + fn)` (Elkan, The foundations of cost-sensitive learning, 2001). A review pays where it is
    cheaper than the better action, `min(fp (1 - p), fn p)` (Chow, On optimum recognition error and reject tradeoff, 1970).
    Where that holds for too many rows, the price of a review is raised until it holds for few enough, which keeps those
    rows that gain most. Raises `InvalidInput` for scores outside of [0, 1], or none where a band is asked for.
    """
    _check_spec(spec)
    scores = np.asarray(reference_scores, dtype=np.float64).ravel()
    if not np.all((scores >= 0) & (scores <= 1)):
        raise InvalidInput(
            "decision.scores",
            "the reference scores must lie in [0, 1], without NaN",
            remedy="Calibrate the model first.",
        )
    if spec.abstain_at_most and not len(scores):
        raise InvalidInput(
            "decision.no_scores",
            "there are no reference scores to size the abstain band on",
            remedy="Give the calibrated scores of a validation set, or abstain_at_most=0.",
        )
    threshold = spec.false_positive / (spec.false_positive + spec.false_negative)
    low, high = _band(spec, scores, threshold)
    return Decision(spec.false_positive, spec.false_negative, spec.review, threshold, low, high)


def _band(spec: DecisionSpec, scores: Floats, threshold: float) -> tuple[float, float]:
    if not spec.abstain_at_most:
        return threshold, threshold
    expected = np.minimum(spec.false_positive * (1 - scores), spec.false_negative * scores)
    allowed = int(spec.abstain_at_most * len(scores))
    price = spec.review
    if allowed < len(scores):
        price = max(price, float(np.partition(expected, -allowed - 1)[-allowed - 1]))
    # Rounding must not let in a row that the price keeps out, so the ends also respect the rows themselves.
    kept_out = scores[expected <= price]
    low = max(price / spec.false_negative, float(kept_out[kept_out < threshold].max(initial=0.0)))
    high = min(1 - price / spec.false_positive, float(kept_out[kept_out >= threshold].min(initial=1.0)))
    return (low, high) if low < threshold < high else (threshold, threshold)


def _check_spec(spec: DecisionSpec) -> None:
    priced = 0 < spec.false_positive < np.inf and 0 < spec.false_negative < np.inf and 0 <= spec.review < np.inf
    if not priced or not 0 <= spec.abstain_at_most <= 1:
        raise InvalidInput(
            "decision.costs",
            f"no decision follows from {spec}",
            remedy="Give positive costs for both mistakes, a review cost of 0 or more, abstain_at_most in [0, 1].",
        )


def _check_decisions(taken: npt.NDArray[np.generic]) -> None:
    unknown = sorted(set(np.unique(taken).tolist()) - {POSITIVE, NEGATIVE, ABSTAIN})
    if unknown:
        raise InvalidInput(
            "decision.unknown", f"{unknown[0]!r} is not a decision", remedy="Use positive, negative or abstain."
        )
