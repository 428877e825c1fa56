"""A model of what an action costs, each row predicted by one that did not see the row's block."""

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

Floats = npt.NDArray[np.float64]

FOLDS = 5
LEAST_ROWS = 100


def cross_fitted(features: npt.ArrayLike, target: npt.ArrayLike, blocks: npt.ArrayLike, *, seed: int) -> Floats:
    """Predictions (rows,) of `target` from `features` (rows, k; NaN is missing), by models fitted on the other folds.

    `target` is NaN where it is not known; those rows are predicted and not learnt from. Blocks are dealt to five folds in
    turn, so that rows of a block stay together. Fewer than 100 known rows outside a fold predict their mean, none at
    all the mean of what is known, or 0.0. One thread: the same input gives the same numbers.

    Chernozhukov et al., Double/debiased machine learning for treatment and structural parameters, 2018, for cross-fitting.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(target, dtype=np.float64)
    _, member = np.unique(np.asarray(blocks), return_inverse=True)
    fold, known = member % FOLDS, ~np.isnan(y)
    predicted = np.full(len(y), y[known].mean() if known.any() else 0.0)
    for number in range(FOLDS):
        inside, learn = fold == number, known & (fold != number)
        if inside.any() and learn.any():
            predicted[inside] = _predict(x[learn], y[learn], x[inside], seed)
    return predicted


def _predict(x: Floats, y: Floats, asked: Floats, seed: int) -> Floats:
    if len(y) < LEAST_ROWS or not x.shape[1]:
        return np.full(len(asked), y.mean())
    model = HistGradientBoostingRegressor(max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=seed)
    with threadpool_limits(limits=1):
        found: Floats = model.fit(x, y).predict(asked)
    return found
