"""A served model's year: rows in the order of time, what the model was given, what it said, what came true."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

Floats = npt.NDArray[np.float64]

_MOST_CATEGORIES = 200


@dataclass(frozen=True)
class Model:
    """A boosted classifier, with its categories turned into numbers as it was trained; a value it never saw is missing to it."""

    features: tuple[str, ...]
    known: dict[str, dict[str, int]]
    fitted: HistGradientBoostingClassifier

    def score(self, rows: pl.DataFrame) -> Floats:
        """The probability of the label, (rows,)."""
        return np.asarray(self.fitted.predict_proba(_encoded(rows, self.features, self.known))[:, 1])


@dataclass(frozen=True)
class Stream:
    """Rows of `frame` have `at` (UTC), `label` (0 or 1) and the features; `important` are those that a fault is planted in.

    `slices` names a column of categories, whose behaviour may change; `feed` are columns that come from one source.
    """

    name: str
    frame: pl.DataFrame
    features: tuple[str, ...]
    numbers: tuple[str, ...]
    slices: str
    feed: tuple[str, ...]
    feed_by: str
    model: Model


def train(rows: pl.DataFrame, features: Sequence[str], seed: int = 0) -> Model:
    """The model of these rows."""
    known = {name: _codes(rows[name]) for name in features if rows[name].dtype == pl.String}
    categorical = [place for place, name in enumerate(features) if name in known]
    fitted = HistGradientBoostingClassifier(
        learning_rate=0.06, max_iter=120, min_samples_leaf=60, categorical_features=categorical, random_state=seed
    )
    fitted.fit(_encoded(rows, features, known), rows["label"].to_numpy())
    return Model(tuple(features), known, fitted)


def _codes(column: pl.Series) -> dict[str, int]:
    counts = column.drop_nulls().value_counts(sort=True, name="_rows").head(_MOST_CATEGORIES)
    return {value: place for place, value in enumerate(sorted(counts[column.name].to_list()))}


def _encoded(rows: pl.DataFrame, features: Sequence[str], known: dict[str, dict[str, int]]) -> Floats:
    columns = []
    for name in features:
        column = rows[name]
        if name in known:
            column = column.replace_strict(known[name], default=None, return_dtype=pl.Float64)
        columns.append(column.cast(pl.Float64).fill_null(np.nan).to_numpy())
    return np.column_stack(columns)


def log_losses(scores: Floats, labels: Floats) -> Floats:
    """The log loss of each row, (rows,)."""
    p = np.clip(scores, 1e-6, 1 - 1e-6)
    return -np.where(labels == 1, np.log(p), np.log(1 - p))


Maker = Callable[[], Stream]
