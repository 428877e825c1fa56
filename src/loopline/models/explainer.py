"""Explains predictions of a packaged model as it serves: no estimator, no pickle, the same numbers for the same row."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.calibration import LogisticCalibrator
from loopline.evaluation.shapley import Attribution, draw_orders, enumerable, enumerated, sampled
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


class Attributor(Protocol):
    """Attributes one row's output."""

    def __call__(self, row: Rows) -> Attribution: ...


class Explainer:
    """Explains rows of one packaged model against its background. Safe to share between threads.

    A sum of trees is explained exactly from its leaves; any other model exactly over every set of its fields where they are
    few, and else over sampled orders of them. `leaves` are those of `models.tree_tables`; they are used only if the model is
    shown to be their sum on every background row.
    """

    def __init__(self, predictor: Predictor, background: Rows, leaves: Leaves | None = None) -> None:
        self.predictor = predictor
        self.background = background
        self.signature = predictor.signature
        self.method, self._attribute = self._choose(leaves)

    def explain(self, matrix: Rows) -> list[Explanation]:
        """An explanation for each row, float32 of shape (n, fields).

        Raises `InvalidInput` "explain.too_many_rows", and `Unavailable` as `Predictor.outputs` does.
        """
        require_few(len(matrix))
        totals = self._totals(matrix) if len(matrix) else np.empty(0)
        return [self._explanation(row, float(total)) for row, total in zip(matrix, totals, strict=True)]

    def contributions(self, matrix: Rows) -> Floats:
        """What each field adds to each row, float64 (n, fields), as `explain` gives it."""
        totals = self._totals(matrix)
        return np.array(
            [_to_total(self._attribute(row), total)[1] for row, total in zip(matrix, totals, strict=True)]
        ).reshape(len(matrix), len(self.signature.fields))

    def summary(self) -> ExplanationSummary:
        """What the fields do over the background's own rows: for a version of which nothing larger was kept."""
        rows = self.background
        return summarise(
            self.contributions(rows),
            rows,
            self.signature,
            method=f"{self.method}; of the packaged model",
            unit=self.unit,
            background_rows=len(rows),
            of_rows="the background's own, of the training rows",
            base=self.base,
        )

    @property
    def unit(self) -> Unit:
        """What is explained: the log-odds of two classes, the probability of the likeliest of several, else the value."""
        kind = self.signature.output.kind
        return "log_odds" if kind == "binary" else "probability" if kind == "multiclass" else "value"

    @property
    def base(self) -> float:
        """The mean of what is explained over the background."""
        return float(self._totals(self.background).mean())

    def _explanation(self, row: Rows, total: float) -> Explanation:
        found = self._attribute(row)
        base, added = _to_total(found, total)
        named = sorted(zip(self.signature.names, added.tolist(), strict=True), key=lambda one: (-abs(one[1]), one[0]))
        return Explanation(
            unit=self.unit,
            base=base,
            total=total,
            contributions=dict(named),
            method=self.method,
            background_rows=len(self.background),
            error=found.error,
        )

    def _totals(self, matrix: Rows) -> Floats:
        scores = self._scores(matrix)
        if self.unit != "log_odds":
            return scores
        inside = np.clip(scores, _CLIP, 1 - _CLIP)
        log_odds: Floats = np.log(inside) - np.log1p(-inside)
        return log_odds

    def _scores(self, matrix: Rows) -> Floats:
        return self.signature.output.scores(self.predictor.outputs(np.ascontiguousarray(matrix)))

    def _choose(self, leaves: Leaves | None) -> tuple[str, Attributor]:
        by_trees = None if leaves is None else self._by_trees(leaves)
        if by_trees is not None:
            return TREES, by_trees
        fields, background = self.background.shape[1], self.background
        if enumerable(fields, len(background)):
            return EVERY_SET, lambda row: enumerated(self._totals, row, background)
        seed = derive_seed(0, "explain", self.predictor.package.digest)
        orders = draw_orders(fields, len(background), seed)
        return SAMPLED, lambda row: sampled(self._totals, row, background[: len(orders)], orders)

    def _by_trees(self, leaves: Leaves) -> Attributor | None:
        """Where calibrated score and margin of the trees are one straight line, what the fields add to the margin."""
        slope, shift = _line(self.predictor)
        if slope is None or not manageable(len(leaves.value), len(self.background)):
            return None
        claimed = (1 + np.tanh((slope * leaves.margins(self.background) + shift) / 2)) / 2
        if not np.all(np.abs(claimed - self._scores(self.background)) <= _SAME):
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
    return Explainer(predictor, rows, _leaves(artifacts, predictor))


def _leaves(artifacts: ArtifactStore, predictor: Predictor) -> Leaves | None:
    """Those of a model of two classes in ONNX; what another gives is no sum of its leaves."""
    package = predictor.package
    two = package.format == "onnx" and package.signature.output.kind == "binary"
    return leaves_of(artifacts.get(package.models[0])) if two else None


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


def _to_total(found: Attribution, total: float) -> tuple[float, Floats]:
    """Base and contributions that add up to `total`: what rounding and clipping left over is shared by size."""
    added = np.array(found.contributions)
    left, size = total - found.base - float(added.sum()), float(np.abs(added).sum())
    if size:
        return found.base, added + left * np.abs(added) / size
    return found.base + left, added
