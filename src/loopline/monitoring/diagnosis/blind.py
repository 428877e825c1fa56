"""How much of a rise of the loss a column accounts for: the rise that a copy of the model would not have had that does not see it.

A copy of the model is learnt from what the model said, before the onset and since, broken inputs and all: no label is needed for that. It is made
blind to a column by giving it the column's values of other rows of the reference, and averaging. On sound rows being blind costs something: what the
column is worth. Where the column is broken it costs less, or helps. The difference is what the column contributes to the rise: (the copy's loss -
its loss when blind) since the onset, minus the same before it. Breiman, Random forests, 2001, for the importance by permutation; here it is of the
model that serves, in units of its loss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]
Read = Callable[[Ints], Matrix]
LossOf = Callable[[Floats, Floats], Floats]

LEARNT_FROM = 12_000
JUDGED_ON = 10_000
_DRAWS = 3
_LEAST_ROWS = 500
_FAITHFUL = 0.5
_TREES = 40


@dataclass(frozen=True)
class Share:
    """What a group of columns contributes to the rise of the mean loss, in units of it, with its standard error."""

    contribution: float
    error: float


class Blind:
    """Copies that are blind to one group of columns after another. `before` and `since` are places of judged rows.

    `read` gives the columns of rows at places: numbers as they are, categories as codes, null as NaN, (places, columns) float32. `scores` are outputs of
    shape (rows,) or (rows, k), and `loss` takes some of them with their labels.
    """

    def __init__(self, read: Read, scores: Floats, labels: Floats, loss: LossOf, before: Ints, since: Ints) -> None:
        self._loss, self._scores, self._labels = loss, scores, labels
        rng = np.random.default_rng(20_130_101)
        learnt = _some(before, LEARNT_FROM, rng)
        self._before, self._since = _some(before, JUDGED_ON, rng), _some(since, JUDGED_ON, rng)
        draws = max(len(self._before), len(self._since))
        self.faithful = False
        if len(learnt) < _LEAST_ROWS or len(since) < _LEAST_ROWS:
            return
        everything = np.concatenate([learnt, _some(since, LEARNT_FROM, rng)])
        self._places = np.unique(np.concatenate([everything, self._before, self._since]))
        self._columns = read(self._places)
        if not self._columns.shape[1]:
            return
        self._pool = self._rows(learnt)
        self._draws = [rng.integers(0, len(learnt), draws) for _ in range(_DRAWS)]
        self._model = _copy(scores)
        with threadpool_limits(limits=1):
            self._model.fit(self._rows(everything), scores[everything])
        self._low, self._high = scores[everything].min(axis=0), scores[everything].max(axis=0)
        self._seeing = {id(places): self._told(self._rows(places)) for places in (self._before, self._since)}
        wrong = np.mean((self._seeing[id(self._before)] - scores[self._before]) ** 2)
        self.faithful = bool(wrong < (1 - _FAITHFUL) * np.mean(np.var(scores[self._before], axis=0)))
        """Whether the copy says what the model says: it explains more than half of the scores' variance on rows of the reference."""

    def share(self, columns: Sequence[int]) -> Share:
        """What these columns contribute to the rise. Only where `faithful`."""
        before, since = self._gain(self._before, columns), self._gain(self._since, columns)
        error = np.hypot(before.std() / np.sqrt(len(before)), since.std() / np.sqrt(len(since)))
        return Share(float(since.mean() - before.mean()), float(error))

    def _gain(self, places: Ints, columns: Sequence[int]) -> Floats:
        """By how much each row's loss would be lower if the copy were blind to the columns."""
        rows = self._rows(places)
        told = np.zeros_like(self._seeing[id(places)])
        for draw in self._draws:
            others = self._pool[draw[: len(places)]]
            for column in columns:
                rows[:, column] = others[:, column]
            told += self._told(rows) / _DRAWS
        labels = self._labels[places]
        return self._loss(self._seeing[id(places)], labels) - self._loss(told, labels)

    def _told(self, rows: Matrix) -> Floats:
        with threadpool_limits(limits=1):
            told: Floats = np.clip(self._model.predict(rows), self._low, self._high)
        return told

    def _rows(self, places: Ints) -> Matrix:
        return self._columns[np.searchsorted(self._places, places)]


def _copy(scores: Floats) -> Any:
    """What learns one score, or several at once."""
    if scores.ndim == 1:
        return HistGradientBoostingRegressor(max_iter=60, max_leaf_nodes=31, random_state=0, early_stopping=False)
    return ExtraTreesRegressor(_TREES, min_samples_leaf=3, random_state=0, n_jobs=1)


def _some(places: Ints, most: int, rng: np.random.Generator) -> Ints:
    return places if len(places) <= most else np.sort(rng.choice(places, most, replace=False))
