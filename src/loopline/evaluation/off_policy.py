"""What a policy would have lost, from rows on which another policy acted: where decisions change outcomes, only the outcome of
the action that was taken is known.
"""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.intervals import Interval, mean_by_block
from loopline.evaluation.weights import effective_rows, weighted_mean_by_block

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NEGLIGIBLE = 1e-6
MOST_UNSUPPORTED = 0.01
LEAST_EFFECTIVE_ROWS = 30


class Overlap(msgspec.Struct, frozen=True):
    """How far the log covers the policy. `unsupported` is the share of rows whose outcome under the policy's action the log
    could not have shown; `clipped` counts weights cut down to `clip`; `effective_rows` is Kish's, over observed rows.
    """

    rows: int
    observed: int
    effective_rows: float
    largest_weight: float
    clip: float
    clipped: int
    unsupported: float


class OffPolicy(msgspec.Struct, frozen=True):
    """A policy's mean loss by three estimators, each with an interval over blocks.

    `ips` weighs each observed loss by the inverse of its propensity; `self_normalised` divides by the sum of weights;
    `doubly_robust` adds a model of the loss, and is right if either the propensities or the model are (None without a
    model). `refused` says in words why no estimate is to be trusted; empty where it is.
    """

    ips: Interval
    self_normalised: Interval
    doubly_robust: Interval | None
    overlap: Overlap
    refused: str

    @property
    def best(self) -> Interval:
        """The doubly robust interval, or without a model the self-normalised one."""
        return self.doubly_robust or self.self_normalised


def off_policy(
    observed: npt.ArrayLike,
    propensity: npt.ArrayLike,
    loss: npt.ArrayLike,
    blocks: npt.ArrayLike,
    *,
    modelled: npt.ArrayLike | None = None,
    clip: float | None = None,
    confidence: float = 0.95,
) -> OffPolicy:
    """Estimate the mean loss of a policy over all rows.

    All of shape (rows,). `observed` is true where the log shows the loss of the policy's own action: the logged action was the same
    (or, where labels are selected, one after which the outcome is seen). `propensity` is the probability with which the
    logged action was chosen. `loss` is read where observed. `modelled` is a prediction of the policy's loss for every row,
    by a model that did not see the row's block. Weights are clipped at `clip`, by default the root of the number of
    rows (Ionides, Truncated importance sampling, 2008), which lowers the estimate a little and its variance much.

    Horvitz and Thompson 1952; Swaminathan and Joachims, The self-normalized estimator for counterfactual learning, 2015;
    Dudík, Langford and Li, Doubly robust policy evaluation and learning, 2011, and Dudík et al. 2014. Raises `InvalidInput`
    for other shapes, a propensity outside of (0, 1], an observed loss that is NaN, or no observed row.
    """
    seen, p = np.asarray(observed, dtype=np.bool_), np.asarray(propensity, dtype=np.float64)
    known, groups = np.asarray(loss, dtype=np.float64), np.asarray(blocks)
    _check(seen, p, known)
    limit = math.sqrt(len(seen)) if clip is None else clip
    raw = np.where(seen, 1 / p, 0.0)
    weights = np.minimum(raw, limit)
    paid = np.where(seen, known, 0.0)
    overlap = _overlap(seen, p, raw, weights, limit)
    return OffPolicy(
        mean_by_block(weights * paid, groups, confidence),
        weighted_mean_by_block(paid, weights, groups, confidence),
        None if modelled is None else mean_by_block(_robust(weights, paid, modelled), groups, confidence),
        overlap,
        _refusal(overlap),
    )


def robust_rows(
    observed: npt.ArrayLike,
    propensity: npt.ArrayLike,
    loss: npt.ArrayLike,
    modelled: npt.ArrayLike,
    *,
    clip: float | None = None,
) -> Floats:
    """Each row's part in the doubly robust mean, for the difference of two policies over the same rows; as `off_policy`."""
    seen, p = np.asarray(observed, dtype=np.bool_), np.asarray(propensity, dtype=np.float64)
    known = np.asarray(loss, dtype=np.float64)
    _check(seen, p, known)
    weights = np.minimum(np.where(seen, 1 / p, 0.0), math.sqrt(len(seen)) if clip is None else clip)
    return _robust(weights, np.where(seen, known, 0.0), modelled)


def _robust(weights: Floats, paid: Floats, modelled: npt.ArrayLike) -> Floats:
    expected = np.asarray(modelled, dtype=np.float64)
    return expected + weights * (paid - expected)


def _overlap(seen: Mask, p: Floats, raw: Floats, weights: Floats, clip: float) -> Overlap:
    """Where another action was logged, what was left of the probability bounds that of the policy's."""
    possible = np.where(seen, p, 1 - p)
    return Overlap(
        rows=len(seen),
        observed=int(seen.sum()),
        effective_rows=effective_rows(weights),
        largest_weight=float(raw.max()),
        clip=float(clip),
        clipped=int((raw > clip).sum()),
        unsupported=float((possible < NEGLIGIBLE).mean()),
    )


def _refusal(overlap: Overlap) -> str:
    if overlap.unsupported > MOST_UNSUPPORTED:
        return (
            f"the log never tries the action this policy takes on {100 * overlap.unsupported:.1f} % of the rows, "
            f"of which at most {100 * MOST_UNSUPPORTED:.0f} % are passed over"
        )
    if overlap.effective_rows < LEAST_EFFECTIVE_ROWS:
        return (
            f"the {overlap.observed} rows on which the log took the same action say as much as {overlap.effective_rows:.0f}, "
            f"and {LEAST_EFFECTIVE_ROWS} are needed"
        )
    return ""


def _check(seen: Mask, p: Floats, loss: Floats) -> None:
    if seen.ndim != 1 or not seen.shape == p.shape == loss.shape or not np.all((p > 0) & (p <= 1)):
        raise InvalidInput(
            "off_policy.propensity",
            "every row needs the probability with which its logged action was chosen, above 0 and at most 1",
            remedy="Log propensities when actions are chosen, and drop rows that have none.",
        )
    if not seen.any() or not np.isfinite(loss[seen]).all():
        raise InvalidInput(
            "off_policy.losses",
            "there is no observed row, or an observed row has no loss",
            remedy="Count observed rows without a label as not observed, and lower the propensities by their share.",
        )
