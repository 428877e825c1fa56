"""Explains predictions of a packaged model as it serves: no estimator, no pickle, the same numbers for the same row."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.calibration import LogisticCalibrator
from loopline.evaluation.shapley import Attribution, Ranks, draw_orders, enumerable, enumerated, sampled
from loopline.evaluation.tree_shapley import Leaves, TreeShapley, manageable
from loopline.models.background import read_background
from loopline.models.explanation import Explanation, ExplanationSummary, Unit, summarise
from loopline.models.predictor import Predictor
from loopline.models.signing import PublicKeys
from loopline.models.tree_tables import leaves_of
from loopline.storage.artifacts import ArtifactStore
from loopline.values import derive_seed

MOST_ROWS = 100
"""How many rows are explained in one call."""

TREES, EVERY_SET, SAMPLED = "interventional tree SHAP, exact", "every set of fields, exact", "sampled orders of fields"

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_SAME = 1e-5
_CLIP = 1e-9
_CLASSIFIERS = ("binary", "multiclass")


class Attributor(Protocol):
    """Attributes one row's output."""

    def __call__(self, row: Rows) -> Attribution: ...


class Explainer:
    """Explains rows of one packaged model against its background. Safe to share between threads.

    What is explained is the row's score: for two classes its log-odds, for several those of the row's likeliest class, else the
    value (of quantiles, the middle one). A sum of trees is explained exactly from its leaves; any other model exactly over
    every set of its fields where they are few, and else over sampled orders of them. `leaves` are those of
    `models.tree_tables`; they are used only if the model is shown to be their sum on every background row.
    """

    def __init__(self, predictor: Predictor, background: Rows, leaves: Leaves | None = None) -> None:
        self.predictor = predictor
        self.background = background
        self.signature = predictor.signature
        self.output = predictor.signature.output
        self.unit: Unit = "log_odds" if self.output.kind in _CLASSIFIERS else "value"
        self._trees = None if leaves is None else self._by_trees(leaves)
        self._orders = self._drawn_orders()

    @property
    def method(self) -> str:
        """How contributions are worked out."""
        if self._trees is not None:
            return TREES
        return EVERY_SET if self._orders is None else SAMPLED

    @property
    def base(self) -> float:
        """The mean over the background of what is explained; of the likeliest class of each row, where there are several."""
        return float(self._scores(self.background).mean())

    def explain(self, matrix: Rows) -> list[Explanation]:
        """An explanation for each row, float32 of shape (n, fields).

        Raises `InvalidInput` "explain.too_many_rows", and `Unavailable` as `Predictor.outputs` does.
        """
        require_few(len(matrix))
        return [self._explanation(row) for row in matrix]

    def contributions(self, matrix: Rows) -> Floats:
        """What each field adds to each row: float64 (n, fields), or (n, fields, classes) for several classes."""
        classes = range(len(self.output.classes)) if self.output.classes else [None]
        parts = [[self._attributed(row, one)[2] for row in matrix] for one in classes]
        shape = (len(classes), len(matrix), len(self.signature.fields))
        found = np.moveaxis(np.array(parts).reshape(shape), 0, 2)
        return found if self.output.classes else found[:, :, 0]

    def summary(self) -> ExplanationSummary:
        """What the fields do over the background's own rows: for a version of which nothing larger was kept."""
        return self.summary_of(self.background, of_rows="the background's own, of the training rows")

    def summary_of(self, matrix: Rows, *, of_rows: str) -> ExplanationSummary:
        """What the fields do over rows, float32 of shape (n, fields)."""
        return summarise(
            self.contributions(matrix),
            matrix,
            self.signature,
            method=f"{self.method}; of the packaged model",
            unit=self.unit,
            background_rows=len(self.background),
            of_rows=of_rows,
            base=None if self.output.classes else self.base,
        )

    def _explanation(self, row: Rows) -> Explanation:
        place = int(self.predictor.outputs(row[None]).argmax()) if self.output.classes else None
        found, total, added = self._attributed(row, place)
        named = sorted(zip(self.signature.names, added.tolist(), strict=True), key=lambda one: (-abs(one[1]), one[0]))
        return Explanation(
            unit=self.unit,
            base=total - float(added.sum()),
            total=total,
            contributions=dict(named),
            method=self.method,
            background_rows=len(self.background),
            error=found.error,
            of=None if place is None else self.output.classes[place],
        )

    def _attributed(self, row: Rows, place: int | None) -> tuple[Attribution, float, Floats]:
        """The attribution of a row's score, or of the class at `place`; with contributions that add up to its total."""
        score = partial(self._scores, place=place)
        if self._trees is not None:
            found = self._trees(row)
        elif self._orders is None:
            found = enumerated(score, row, self.background)
        else:
            found = sampled(score, row, self.background[: len(self._orders)], self._orders)
        total = float(score(row[None])[0])
        return found, total, _adding_up(found, total)

    def _scores(self, matrix: Rows, *, place: int | None = None) -> Floats:
        outputs = self.predictor.outputs(np.ascontiguousarray(matrix))
        one = self.output.scores(outputs) if place is None else outputs[:, place]
        if self.unit == "value":
            return one
        inside = np.clip(one, _CLIP, 1 - _CLIP)
        return np.log(inside) - np.log1p(-inside)

    def _drawn_orders(self) -> Ranks | None:
        fields, rows = self.background.shape[1], len(self.background)
        if self._trees is not None or enumerable(fields, rows):
            return None
        return draw_orders(fields, rows, derive_seed(0, "explain", self.predictor.package.digest))

    def _by_trees(self, leaves: Leaves) -> Attributor | None:
        """Where score and margin of the trees are one straight line, what the fields add to the margin."""
        slope, shift = _line(self.predictor)
        if slope is None or self.output.wide or not manageable(len(leaves.value), len(self.background)):
            return None
        claimed = slope * leaves.margins(self.background) + shift
        scores = self.predictor.outputs(self.background)
        if self.unit == "log_odds":
            claimed = (1 + np.tanh(claimed / 2)) / 2
        allowed = _SAME * max(1.0, float(np.abs(scores).max()))
        if not np.all(np.abs(claimed - scores) <= allowed):
            return None
        return _lined(TreeShapley(leaves, self.background).attribute, slope, shift)


def require_few(rows: int) -> None:
    """Raise `InvalidInput` "explain.too_many_rows" for more than are explained in one call."""
    if rows > MOST_ROWS:
        raise InvalidInput(
            "explain.too_many_rows",
            f"{rows} rows are too many to explain in one call",
            remedy=f"Ask for at most {MOST_ROWS}.",
        )


def load_explainer(artifacts: ArtifactStore, predictor: Predictor, *, background: str, keys: PublicKeys) -> Explainer:
    """The explainer of a loaded model. Raises as `read_background` does, and `NotFound` where the model is gone."""
    rows = read_background(artifacts, background, package=predictor.package.digest, keys=keys).rows
    return explainer_of(artifacts, predictor, rows)


def explainer_of(artifacts: ArtifactStore, predictor: Predictor, rows: Rows) -> Explainer:
    """The explainer of a model against `rows`, float32 of shape (n, fields). Raises `NotFound` where the model is gone."""
    package = predictor.package
    single = package.format == "onnx" and len(package.models) == 1
    return Explainer(predictor, rows, leaves_of(artifacts.get(package.models[0])) if single else None)


def _line(predictor: Predictor) -> tuple[float | None, float]:
    calibrator = predictor.package.calibrator
    if calibrator is None:
        return 1.0, 0.0
    return (calibrator.a, calibrator.b) if isinstance(calibrator, LogisticCalibrator) else (None, 0.0)


def _lined(attribute: Callable[[Rows], Attribution], slope: float, shift: float) -> Attributor:
    def along(row: Rows) -> Attribution:
        found = attribute(row)
        return Attribution(slope * found.base + shift, tuple(slope * one for one in found.contributions))

    return along


def _adding_up(found: Attribution, total: float) -> Floats:
    """The contributions; what rounding and clipping left between them and `total` is shared by size."""
    added = np.array(found.contributions)
    left, size = total - found.base - float(added.sum()), float(np.abs(added).sum())
    return added + left * np.abs(added) / size if size else added
