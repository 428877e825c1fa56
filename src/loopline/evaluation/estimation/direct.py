"""Estimates for numbers, from a model of the loss: DLE (direct loss estimation), mended where inputs shift."""

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from loopline.evaluation.estimation.domain import as_matrix, density_ratios, with_outputs
from loopline.evaluation.estimation.estimate import EstimatedLoss, Past, cannot, too_few, too_unlike
from loopline.evaluation.losses import Loss
from loopline.evaluation.weights import weighted_mean_by_block

Floats = npt.NDArray[np.float64]

DLE = "dle"
_TREES = 50
_BINS = 10


def estimate_directly(
    loss: Loss, past: Past, outputs: Floats, features: pl.DataFrame | None = None, seed: int = 0
) -> EstimatedLoss:
    """The mean loss to be expected of rows with these `outputs` and `features`; both in the past, too.

    Boosted trees learn the loss of past rows from their features and outputs. Each past row is judged by trees that did not see
    its stretch of time; what they miss there, weighted by how frequent such rows are now, is added: so the estimate is right where
    either the trees or the weights are (Robins, Rotnitzky and Zhao, Estimation of regression coefficients when some regressors
    are not always observed, 1994). Its error comes from what is missed, over blocks. Abstains without features, below 500 labelled
    rows, and where fewer than 100 of them are like these.
    """
    nothing = too_few(DLE, past, len(outputs))
    if nothing is not None:
        return nothing
    if features is None or past.features is None:
        return cannot(DLE, len(outputs), "Without features the loss of a number cannot be estimated.")
    known, told = (
        with_outputs(past.features, past.outputs),
        with_outputs(features.select(past.features.columns), outputs),
    )
    domain = density_ratios(known, told, seed)
    unlike = too_unlike(DLE, len(outputs), domain.effective)
    if unlike is not None:
        return unlike
    both = as_matrix(pl.concat([known, told], how="vertical_relaxed"))
    x, asked = both[: known.height], both[known.height :]
    losses = loss.rows(past.outputs, past.labels)
    expected, missed = _judge(x, losses, asked, seed), losses - _unseen(x, losses, past.parts(), seed)
    mending = weighted_mean_by_block(missed, domain.weights, past.blocks)
    spread = _spread(losses - missed, missed, expected)
    return EstimatedLoss(
        method=DLE,
        rows=len(outputs),
        value=max(0.0, float(expected.mean()) + mending.mean),
        error=mending.error if np.isfinite(mending.error) else float(missed.std()),
        sampling=float(np.sqrt(spread.sum())) / len(outputs),
        effective=domain.effective,
    )


def _judge(x: Floats, losses: Floats, asked: Floats, seed: int) -> Floats:
    """The loss expected at `asked`, within what was seen."""
    trees = HistGradientBoostingRegressor(
        max_iter=_TREES, max_leaf_nodes=12, min_samples_leaf=40, early_stopping=False, random_state=seed % 2**32
    )
    with threadpool_limits(limits=1):
        judged: Floats = trees.fit(x, losses).predict(asked)
    return np.clip(judged, float(losses.min()), float(losses.max()))


def _unseen(x: Floats, losses: Floats, parts: npt.NDArray[np.int64], seed: int) -> Floats:
    """The loss expected of each row by trees that did not see its stretch; the mean where there is but one."""
    judged = np.full(len(losses), losses.mean())
    thirds = parts % 3
    for third in np.unique(thirds) if parts.max() else []:
        seen = thirds != third
        judged[~seen] = _judge(x[seen], losses[seen], x[~seen], seed)
    return judged


def _spread(expected: Floats, missed: Floats, asked: Floats) -> Floats:
    """The variance of the loss (rows,) around what is expected: as it was in the tenth of past rows where about as much was expected."""
    edges = np.unique(np.quantile(expected, np.linspace(0, 1, _BINS + 1)[1:-1]))
    place = np.searchsorted(edges, expected, side="right")
    rows = np.bincount(place, minlength=len(edges) + 1)
    squares = np.bincount(place, weights=missed**2, minlength=len(edges) + 1)
    variance = np.where(rows > 0, squares / np.maximum(rows, 1), float((missed**2).mean()))
    found: Floats = variance[np.searchsorted(edges, asked, side="right")]
    return found
