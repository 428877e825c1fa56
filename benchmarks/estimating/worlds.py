"""Rows with labels, and rows whose labels are hidden from both methods."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from loopline.evaluation.kind import Output

KINDS = ("binary", "multiclass", "regression")
SHIFTS = ("none", "little", "far", "meaning")
ROWS = 9000
HALF = 0.5
_BY = {"none": 0.0, "little": 0.6, "far": 1.2, "meaning": 0.0}


@dataclass(frozen=True)
class World:
    kind: str
    shift: str
    past: np.ndarray
    outputs: np.ndarray
    labels: np.ndarray
    now: np.ndarray
    outputs_now: np.ndarray
    labels_now: np.ndarray

    @property
    def output(self) -> Output:
        return Output(self.kind, ("a", "b", "c") if self.kind == "multiclass" else ())

    def frame(self, *, now: bool = False) -> pl.DataFrame:
        """The features."""
        rows = self.now if now else self.past
        return pl.DataFrame({f"f{place}": column for place, column in enumerate(rows.T)})

    def write(self, folder: Path) -> None:
        """Both files; the second without labels."""
        self._table(self.frame(), self.outputs).with_columns(y=self.labels).write_csv(folder / "reference.csv")
        self._table(self.frame(now=True), self.outputs_now).write_csv(folder / "analysis.csv")

    def _table(self, frame: pl.DataFrame, outputs: np.ndarray) -> pl.DataFrame:
        if self.kind == "multiclass":
            probabilities = {f"p_{place}": column for place, column in enumerate(outputs.T)}
            return frame.with_columns(**probabilities, pred=outputs.argmax(axis=1))
        if self.kind == "binary":
            return frame.with_columns(p=outputs, pred=(outputs >= HALF).astype(int))
        return frame.with_columns(pred=outputs)


def make(kind: str, shift: str, seed: int) -> World:
    """One world, by its seed."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    predict = _model(kind, *_rows(kind, rng, 4000, 0.0))
    x, y = _rows(kind, rng, ROWS, 0.0)
    x_now, y_now = _rows(kind, rng, ROWS, _BY[shift], turned=shift == "meaning")
    return World(kind, shift, x, predict(x), y, x_now, predict(x_now), y_now)


def _rows(
    kind: str, rng: np.random.Generator, rows: int, by: float, *, turned: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(rows, 4))
    x[:, 0] += by
    a, b, c = x[:, 0], (-x[:, 1] if turned else x[:, 1]), x[:, 2]
    if kind == "binary":
        p = 1 / (1 + np.exp(0.8 - a - 1.2 * b - 0.8 * a * b - 0.5 * (c > 0)))
        return x, (rng.random(rows) < p).astype(float)
    if kind == "multiclass":
        z = np.column_stack([a * b, b - 0.3 * a, 0.5 * c])
        return x, (z + rng.gumbel(size=z.shape)).argmax(axis=1).astype(float)
    return x, a + 2 * b + rng.normal(size=rows) * (0.5 + 0.5 * np.abs(a))


def _model(kind: str, x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    if kind == "regression":
        return HistGradientBoostingRegressor(max_iter=60, random_state=1).fit(x, y).predict
    model = LogisticRegression().fit(x, y)
    return model.predict_proba if kind == "multiclass" else lambda rows: model.predict_proba(rows)[:, 1]
