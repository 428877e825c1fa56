"""Which predictions are reviewed, and how probable that was. Whether one is follows from the seed and its id alone."""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.decisions.choice import ChoiceDecision
from loopline.decisions.decision import AnyDecision
from loopline.decisions.policy import ABSTAIN, Decision
from loopline.evaluation.kind import Output, from_column
from loopline.labels.review.terms import ReviewTerms
from loopline.values import derive_seed

Floats = npt.NDArray[np.float64]

ABSTAINED, SAMPLED = "abstained", "sampled"

_SEEDS = 2**32
CHOSEN = ("reason", "propensity", "priority")


def chosen(
    predictions: pl.DataFrame, terms: ReviewTerms, decision: AnyDecision | None, output: Output, seed: int
) -> pl.DataFrame:
    """Those of `predictions` that are reviewed, with `reason`, `propensity` (the probability that it is chosen) and `priority`
    (what the decision is expected to cost, or how uncertain the output is where nothing is priced; the greatest comes first).

    `predictions` has `prediction_id`, `decision`, `score` and, for outputs of several columns, `outputs`. One that abstained has the propensity 1. Of
    the others each is drawn by its id, with the share that its uncertainty gives, to within 2**-32.
    """
    if predictions.is_empty():
        return predictions.with_columns(
            pl.lit(None, pl.String if name == "reason" else pl.Float64).alias(name) for name in CHOSEN
        )
    price, uncertainty = priced(output.shaped(from_column(predictions[output.column])), decision, output)
    abstained = predictions["decision"].eq_missing(ABSTAIN).to_numpy()
    propensity = np.where(abstained, 1.0, inclusion(terms, uncertainty))
    drawn = [derive_seed(seed, "review", one) / _SEEDS for one in predictions["prediction_id"]]
    told = predictions.with_columns(
        reason=pl.Series(np.where(abstained, ABSTAINED, SAMPLED)),
        propensity=pl.Series(propensity, dtype=pl.Float64),
        priority=pl.Series(price, dtype=pl.Float64),
    )
    return told.filter(pl.Series(np.asarray(drawn) < propensity))


def inclusion(terms: ReviewTerms, uncertainty: npt.ArrayLike) -> Floats:
    """The probability that a row that did not abstain is chosen; `uncertainty` in [0, 1], any shape."""
    u = np.clip(np.nan_to_num(np.asarray(uncertainty, dtype=np.float64), nan=1.0), 0.0, 1.0)
    return np.minimum(terms.share * (1 + (terms.uncertain - 1) * u), 1.0)


def priced(outputs: Any, decision: AnyDecision | None, output: Output) -> tuple[Floats, Floats]:
    """For each row of `outputs`, what the best decision is expected to cost, and that as a share of the most it can be.

    Where nothing is priced both say how far a probability is from certain; an output that is no probability is as uncertain as any other: 0.
    A row without an output costs the most there is.
    """
    given = np.asarray(outputs, dtype=np.float64)
    if isinstance(decision, Decision):
        cost = np.minimum(decision.false_positive * (1 - given), decision.false_negative * given)
        most = decision.false_positive * decision.false_negative / (decision.false_positive + decision.false_negative)
    elif isinstance(decision, ChoiceDecision):
        prices = np.asarray(decision.costs, dtype=np.float64)
        cost, most = (given @ prices).min(axis=1), float(prices.max())
    elif output.kind == "binary":
        cost, most = np.minimum(given, 1 - given), 0.5
    elif output.kind == "multiclass":
        cost, most = 1 - given.max(axis=1), 1 - 1 / output.width
    else:
        return np.zeros(len(given)), np.zeros(len(given))
    cost = np.where(np.isnan(cost), most, cost)
    return cost, np.clip(cost / most, 0.0, 1.0) if most > 0 else np.zeros(len(cost))
