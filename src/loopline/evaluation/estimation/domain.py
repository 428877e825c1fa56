"""How much each labelled row counts where the rows of now are others: density ratios by a classifier that tells the two apart."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from loopline.evaluation.calibration import line_of, logit, sigmoid
from loopline.evaluation.weights import effective_rows

Floats = npt.NDArray[np.float64]

MOST_ROWS = 5_000
FOLDS = 3
_TREES = 40
_MOST_LEANING = 1e-3


@dataclass(frozen=True)
class Domain:
    """`weights` (rows,) of the labelled rows, with a mean of 1, and how many rows like those of now they are worth: by Kish's formula, times
    the share of the rows of now that they account for at all.
    """

    weights: Floats
    effective: float


def density_ratios(past: pl.DataFrame, now: pl.DataFrame, seed: int) -> Domain:
    """How much more frequent rows like each of `past` are in `now`.

    Both frames have the same columns: numbers, and anything else as names. Boosted trees learn to tell the two apart; each row
    is judged by trees that did not see it, and the line through the logits that fits best makes the judgement a probability, so that
    trees which found nothing but chance give weights of one. At most 5,000 rows a side are learnt from. The same input and seed
    give the same weights.

    Bickel, Brückner and Scheffer, Discriminative learning under covariate shift, 2009; Sugiyama, Suzuki and Kanamori, Density ratio
    estimation in machine learning, 2012.
    """
    x = as_matrix(pl.concat([past, now], how="vertical_relaxed"))
    is_now = np.repeat([0.0, 1.0], [past.height, now.height])
    rng = np.random.default_rng(seed)
    fold = rng.permutation(len(x)) % FOLDS
    judged = np.empty(len(x))
    for number in range(FOLDS):
        learnt = _sample(rng, fold != number, is_now)
        judged[fold == number] = _judge(x, is_now, learnt, fold == number, seed)
    z = logit(judged)
    each = np.where(is_now == 1, 0.5 / now.height, 0.5 / past.height)
    slope, level = line_of(np.column_stack([z, np.ones_like(z)]), is_now, np.array([1.0, 0.0]), each)
    if slope <= 0:
        return Domain(np.ones(past.height), float(past.height))
    p = np.clip(sigmoid(slope * z[: past.height] + level), _MOST_LEANING, 1 - _MOST_LEANING)
    ratios = p / (1 - p)
    covered = min(
        1.0, float(ratios.mean())
    )  # a density's ratio to another has a mean of 1 over it, unless they lie apart
    return Domain(ratios / ratios.mean(), effective_rows(ratios) * covered)


def with_outputs(features: pl.DataFrame, outputs: Floats) -> pl.DataFrame:
    """The features with what the model made of them, (rows,) or (rows, k), as further columns."""
    columns = [outputs] if outputs.ndim == 1 else list(outputs.T)
    return features.with_columns(pl.Series(f"_output_{place}", column) for place, column in enumerate(columns))


def as_matrix(frame: pl.DataFrame) -> Floats:
    """Numbers as they are, names as the place of each among all that are there; missing values are NaN. Shape (rows, columns)."""
    return np.column_stack([_numbers(column) for column in frame.get_columns()])


def _numbers(column: pl.Series) -> Floats:
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return column.cast(pl.String).rank("dense").cast(pl.Float64).fill_null(np.nan).to_numpy()


def _sample(rng: np.random.Generator, may: npt.NDArray[np.bool_], is_now: Floats) -> npt.NDArray[np.int64]:
    sides = [np.flatnonzero(may & (is_now == side)) for side in (0.0, 1.0)]
    return np.sort(np.concatenate([rng.choice(side, min(len(side), MOST_ROWS), replace=False) for side in sides]))


def _judge(x: Floats, is_now: Floats, learnt: npt.NDArray[np.int64], asked: npt.NDArray[np.bool_], seed: int) -> Floats:
    trees = HistGradientBoostingClassifier(
        max_iter=_TREES, max_leaf_nodes=8, min_samples_leaf=40, early_stopping=False, random_state=seed % 2**32
    )
    with threadpool_limits(limits=1):
        judged: Floats = trees.fit(x[learnt], is_now[learnt]).predict_proba(x[asked])[:, 1]
    return judged
