"""Estimates for classes, from the probabilities that a model gives: CBPE, and PAPE where inputs shift.

A calibrated probability says how often each label is to come, so it says what each row is to be expected to lose. CBPE (confidence-based
performance estimation) calibrates on all labelled rows alike. PAPE (probabilistic adaptive performance estimation) calibrates once more
with each of them counting as much as rows like it are frequent now: a score may mean something else where the inputs are others.

Białek, Kuberski, Perrakis and Bifet, Estimating model performance under covariate shift without labels, 2024 (arXiv 2401.08348).
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.evaluation.calibration import fit_logistic
from loopline.evaluation.calibrator import Calibrator
from loopline.evaluation.calibrators import BINARY, IDENTITY_NAME, MULTICLASS, choose
from loopline.evaluation.estimation.domain import Domain, density_ratios, with_outputs
from loopline.evaluation.estimation.estimate import EstimatedLoss, Past, jackknife, too_few, too_unlike
from loopline.evaluation.losses import Loss
from loopline.evaluation.softmax import fit_temperature, fit_vector

Floats = npt.NDArray[np.float64]
RowLosses = Callable[[Floats, Floats], Floats]
Fit = Callable[[Floats, Floats], Calibrator | None]

CBPE, PAPE = "cbpe", "pape"
_ROWS_A_NUMBER = 100
_UNSURE = 0.5
"""The weights are estimates themselves: what they change is taken as known to a half."""


def estimate_by_confidence(
    loss: Loss | RowLosses, past: Past, outputs: Floats, features: pl.DataFrame | None = None, seed: int = 0
) -> EstimatedLoss:
    """The mean loss to be expected of rows with these `outputs`: probabilities (rows,) of a 1, or (rows, k) of each class.

    `loss` is one of classes, or gives the loss (rows,) of outputs and labels: the cost of what is decided on them, say. With
    `features` of the rows, and in the past, it is PAPE, else CBPE. The error is the jackknife's over stretches of the past, so
    rows of a block may depend on each other; for PAPE half of what the weights change is added. Abstains below 500 labelled rows and, for
    PAPE, where fewer than 100 of them are like these.
    """
    shifts = features is not None and past.features is not None
    method = PAPE if shifts else CBPE
    nothing = too_few(method, past, len(outputs))
    if nothing is not None:
        return nothing
    domain = None
    if features is not None and past.features is not None:
        domain = density_ratios(
            with_outputs(past.features, past.outputs),
            with_outputs(features.select(past.features.columns), outputs),
            seed,
        )
        unlike = too_unlike(method, len(outputs), domain.effective)
        if unlike is not None:
            return unlike
    losses = of_each_class(loss.rows if isinstance(loss, Loss) else loss, outputs)
    first = calibration_for(past)
    sure = calibrated(first, past, domain, outputs)
    expected = expected_losses(losses, sure)
    spread = np.maximum(expected_losses(losses**2, sure) - expected**2, 0.0)
    parts = past.parts()
    kept = [parts != part for part in np.unique(parts)] if parts.max() else []
    again = [calibrated(first, _part(past, mask), _of(domain, mask), outputs) for mask in kept]
    error = jackknife([float(expected_losses(losses, one).mean()) for one in again])
    if domain is not None:
        unshifted = float(expected_losses(losses, calibrated(first, past, None, outputs)).mean())
        error = math.hypot(error, _UNSURE * (float(expected.mean()) - unshifted))
    return EstimatedLoss(
        method=method,
        rows=len(outputs),
        value=float(expected.mean()),
        error=error,
        sampling=float(np.sqrt(spread.sum())) / len(outputs),
        baseline=_constant(loss, sure) if isinstance(loss, Loss) else None,
        effective=domain.effective if domain else float(len(past)),
    )


def of_each_class(rows: Callable[..., Floats], outputs: Floats) -> Floats:
    """The loss (rows, k) of each row, were each label in turn to come."""
    count = outputs.shape[1] if outputs.ndim > 1 else 2
    return np.column_stack([rows(outputs, np.full(len(outputs), float(place))) for place in range(count)])


def expected_losses(losses: Floats, sure: Floats) -> Floats:
    """The loss (rows,) to be expected where each label comes with probability `sure`: (rows,) of a 1, or (rows, k)."""
    shares = np.column_stack([1 - sure, sure]) if sure.ndim == 1 else sure
    expected: Floats = (losses * shares).sum(axis=1)
    return expected


def expected_confusion(chosen: npt.ArrayLike, sure: Floats) -> Floats:
    """How many rows of each class (first axis) are to be expected among those for which each was `chosen` (second axis).

    `chosen` (rows,) are places of classes. Accuracy, precision, recall and the like follow from it.
    """
    shares = np.column_stack([1 - sure, sure]) if sure.ndim == 1 else sure
    picked = np.eye(shares.shape[1])[np.asarray(chosen, dtype=np.intp)]
    counts: Floats = shares.T @ picked
    return counts


def calibration_for(past: Past) -> Fit:
    """How outputs are calibrated on these rows: as `calibrators.choose` finds, and by the simplest way where that is not at all."""
    kind, fits = ("multiclass", MULTICLASS) if past.outputs.ndim > 1 else ("binary", BINARY)
    name = choose(kind, past.outputs, past.labels).name
    return fits["logistic" if kind == "binary" else "temperature"] if name == IDENTITY_NAME else fits[name]


def calibrated(first: Fit, past: Past, domain: Domain | None, outputs: Floats) -> Floats:
    """The probabilities that `outputs` stand for: calibrated on past rows, then once more with the weights of the domain."""
    plain = first(past.outputs, past.labels)
    known, told = (one if plain is None else plain.apply(one) for one in (past.outputs, outputs))
    if domain is None:
        return np.asarray(told)
    if known.ndim == 1:
        return fit_logistic(known, past.labels, domain.weights).apply(told)
    enough = domain.effective >= 2 * known.shape[1] * _ROWS_A_NUMBER
    again = (fit_vector if enough else fit_temperature)(known, past.labels, domain.weights)
    return np.asarray(told if again is None else again.apply(told))


def _constant(loss: Loss, sure: Floats) -> float:
    """What the best constant is to be expected to lose on rows of these probabilities."""
    if sure.ndim == 1:
        return loss.of_base_rate(float(sure.mean())) if loss.of_base_rate else 0.0
    shares = sure.mean(axis=0)
    losses = of_each_class(loss.rows, shares[None, :])
    return float(losses[0] @ shares)


def _part(past: Past, kept: npt.NDArray[np.bool_]) -> Past:
    return Past(past.outputs[kept], past.labels[kept], past.blocks[kept])


def _of(domain: Domain | None, kept: npt.NDArray[np.bool_]) -> Domain | None:
    return None if domain is None else Domain(domain.weights[kept], domain.effective)
