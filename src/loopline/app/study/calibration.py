"""Do scores mean what they say, and what do decisions cost."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopline.app.study.answers import Calibration, Costs
from loopline.app.study.study import Study, bounds, figure
from loopline.app.study.targets import POSITIVES
from loopline.decisions.policy import ABSTAIN, NEGATIVE, POSITIVE, Decision
from loopline.errors import InvalidInput
from loopline.evaluation.intervals import Interval
from loopline.evaluation.reliability import Reliability, reliability

Floats = npt.NDArray[np.float64]

Decisions = npt.NDArray[np.str_]
Taken = Callable[[slice], Decisions]

_MOST = 500_000
_OFF = 0.02
_PER = 1000.0


@dataclass(frozen=True)
class Prices:
    """What mistakes cost, and the score from which a decision is positive; None follows from the costs."""

    false_positive: float
    false_negative: float
    threshold: float | None = None


def answer_calibration(study: Study) -> Calibration | None:
    """The reliability of the probabilities of a class, before and lately; None for other models."""
    if study.rows.kind != "binary" or study.rows.hard:
        return None
    first, last = study.lately
    if not study.rows.count(study.judged_in, *_span(study, first, last)):
        return None
    before, lately = _curve(study, 0, study.reference - 1), _curve(study, first, last)
    mean_before, rate_before = _means(before)
    mean_lately, rate_lately = _means(lately)
    sentences = [
        f"In the reference the mean score was {figure(mean_before)} and {figure(rate_before)} came true; lately {figure(mean_lately)} and {figure(rate_lately)}.",
        f"The gap between score and outcome, over bins of the score, was {figure(before.expected_error)} and is {figure(lately.expected_error)}.",
    ]
    gap = mean_lately - rate_lately
    if abs(gap) > max(_OFF, 0.2 * rate_lately) and abs(gap) > 2 * abs(mean_before - rate_before):
        way = "high" if gap > 0 else "low"
        sentences.append(f"Scores are too {way} lately, by {figure(abs(gap))} in the mean: calibrate the model again.")
    return Calibration(before, lately, sentences)


def _curve(study: Study, first: int, last: int) -> Reliability:
    rows, span = study.rows, _span(study, first, last)
    count = rows.count(study.judged_in, *span)
    places = rows.every(max(1, -(-count // _MOST)), study.judged_in, *span)
    return reliability(rows.taken(study.losses.scores, places), rows.taken(rows.label, places))


def _span(study: Study, first: int, last: int) -> tuple[int, int]:
    """The rows of some blocks."""
    return int(study.blocks.first[first]), int(study.blocks.last[last])


def _means(curve: Reliability) -> tuple[float, float]:
    rows = np.array([one.rows for one in curve.bins])
    scores, rates = (np.array([getattr(one, name) for one in curve.bins]) for name in ("mean_score", "base_rate"))
    return float(scores @ rows / rows.sum()), float(rates @ rows / rows.sum())


def answer_costs(study: Study, prices: Prices | None) -> Costs | None:
    """What the decisions cost: by the threshold if there is one, else by the column of decisions, else by the best threshold.

    None without prices, for other models, where a judge stands in for labels, and where the files hold no judged row. Raises `InvalidInput` for decisions that are
    not clearly positive or negative.
    """
    if prices is None or study.rows.kind != "binary" or study.rows.judged is not None:
        return None
    policy = _policy(prices)
    own = prices.threshold is None and study.rows.decision is not None
    threshold = policy.threshold if prices.threshold is None else prices.threshold

    def by_threshold(part: slice) -> Decisions:
        return np.where(study.losses.scores[part] >= threshold, POSITIVE, NEGATIVE)

    taken = _decided(study) if own else by_threshold
    first, last = study.lately
    before, lately = _cost(study, policy, taken, 0, study.reference - 1), _cost(study, policy, taken, first, last)
    if before is None or lately is None:
        return None
    how = "the decisions of the file" if own else f"positive from a score of {figure(threshold)} on"
    costs = f"{figure(before.mean)}{bounds(before)} in the reference and {figure(lately.mean)}{bounds(lately)} lately"
    sentences = [f"By {how}, 1,000 predictions cost {costs}."]
    best = _cost(study, policy, lambda part: policy.decide(study.losses.scores[part]), first, last)
    if best is None or (not own and threshold == policy.threshold):
        return Costs(before, lately, None, prices.threshold, sentences)
    by = f"{figure(best.mean)}{bounds(best)}"
    sentences.append(
        f"Deciding positive from {figure(policy.threshold)} on, as these costs imply, would cost {by} lately."
    )
    return Costs(before, lately, best, prices.threshold, sentences)


def _policy(prices: Prices) -> Decision:
    """Positive from the score on at which both mistakes cost the same; half of the cheaper one for a review."""
    best = prices.false_positive / (prices.false_positive + prices.false_negative)
    review = min(prices.false_positive, prices.false_negative) / 2
    return Decision(prices.false_positive, prices.false_negative, review, best, best, best)


def _cost(study: Study, policy: Decision, taken: Taken, first: int, last: int) -> Interval | None:
    def of(part: slice) -> tuple[Floats, npt.NDArray[np.bool_]]:
        return _PER * policy.cost(taken(part), study.rows.label[part]), study.losses.judged[part]

    return study.mean(of, first, last)


def _decided(study: Study) -> Taken:
    """The decisions of the file."""
    decision = study.rows.decision
    assert decision is not None  # noqa: S101 - asked for before
    text = decision.values.str.to_lowercase().str.strip_chars()
    known = set(text.drop_nulls().unique().to_list())
    positive = (
        known & ({POSITIVE, study.rows.classes[1].lower()} | set(POSITIVES))
        if study.rows.classes
        else known & {POSITIVE, *POSITIVES}
    )
    if len(positive) != 1 or len(known - positive - {ABSTAIN}) > 1:
        raise InvalidInput(
            "alone.decisions_unclear",
            f"it is not clear which decisions are positive: {', '.join(sorted(known)[:6])}",
            remedy="Give --threshold, or a column --decision that holds two values, one of them positive, yes, 1 or the positive label.",
        )
    each = np.array(
        [POSITIVE if one in positive else ABSTAIN if one == ABSTAIN else NEGATIVE for one in text] + [ABSTAIN]
    )
    return lambda part: each[decision.codes[part]]
