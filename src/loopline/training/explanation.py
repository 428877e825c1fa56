"""The summary of a fitted model's explanations, by shap where it knows the estimator, else by the packaged model."""

import warnings
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog
from threadpoolctl import threadpool_limits

from loopline.evaluation.calibration import LogisticCalibrator
from loopline.models.background import spread
from loopline.models.explainer import Explainer
from loopline.models.explanation import ExplanationSummary, Unit, summarise
from loopline.models.trees import trees_of

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

log = structlog.get_logger(__name__)

MOST_ROWS, FEWEST_ROWS = 500, 50
_TREE_WORK = 6_000_000  # rows times background rows times trees: about two seconds
_PACKAGED_ROWS = 100
_BOOSTED_TREES = 300  # of estimators that do not show their trees

# What changes each column for itself, so that what comes out of it still is one of the model's fields.
_COLUMNWISE = {
    "SimpleImputer",
    "StandardScaler",
    "MinMaxScaler",
    "MaxAbsScaler",
    "RobustScaler",
    "QuantileTransformer",
    "PowerTransformer",
    "FunctionTransformer",
}
_LINEAR = {"LogisticRegression", "LinearRegression", "Ridge", "Lasso", "ElasticNet", "SGDClassifier", "SGDRegressor"}
_BOOSTED = {"LGBMClassifier", "LGBMRegressor", "XGBClassifier", "XGBRegressor"}


def summarise_fit(estimator: Any, explainer: Explainer, matrix: Rows, *, of_rows: str, seed: int) -> ExplanationSummary:
    """Which fields matter to a fitted model, and how, on rows of `matrix` (n, fields) spread evenly over it.

    Exact for trees (`shap.TreeExplainer`) and lines (`shap.LinearExplainer`), against the explainer's background; for any
    other estimator, and where shap fails, what the packaged model's own explainer gives. How many rows follows from the
    size of the model, not from a clock: the same fit has the same summary.
    """
    before, last = _parts(estimator)
    name = type(last).__name__
    if before is not None:
        if name in _LINEAR:
            return _by_shap(
                "LinearExplainer", estimator, explainer, matrix[spread(len(matrix), MOST_ROWS, seed)], of_rows
            )
        trees = len(trees_of(last)) or (_BOOSTED_TREES if name in _BOOSTED else 0)
        if trees:
            rows = _TREE_WORK // (len(explainer.background) * trees)
            chosen = spread(len(matrix), min(MOST_ROWS, max(FEWEST_ROWS, rows)), seed)
            return _by_shap("TreeExplainer", estimator, explainer, matrix[chosen], of_rows)
    return explainer.summary_of(matrix[spread(len(matrix), _PACKAGED_ROWS, seed)], of_rows=of_rows)


def _parts(estimator: Any) -> tuple[list[Any] | None, Any]:
    """The steps before the last, None where one of them mixes columns; and the last."""
    steps = [step for _, step in estimator.steps] if hasattr(estimator, "steps") else [estimator]
    *before, last = [step for step in steps if step not in ("passthrough", None)]
    return (before if all(type(step).__name__ in _COLUMNWISE for step in before) else None), last


def _by_shap(kind: str, estimator: Any, explainer: Explainer, rows: Rows, of_rows: str) -> ExplanationSummary:
    try:
        values, base, unit = _shap_values(kind, estimator, explainer, rows)
    except Exception as error:  # shap's errors have no common class, and the packaged model can always be asked
        log.warning("shap_failed", explainer=kind, error=repr(error))
        return explainer.summary_of(rows[spread(len(rows), _PACKAGED_ROWS, 0)], of_rows=of_rows)
    return summarise(
        values,
        rows,
        explainer.signature,
        method=f"shap.{kind}, exact{'' if _calibrated(explainer, unit) else ', before calibration'}",
        unit=unit,
        background_rows=len(explainer.background),
        of_rows=of_rows,
        base=base,
    )


def _shap_values(kind: str, estimator: Any, explainer: Explainer, rows: Rows) -> tuple[Floats, float | None, Unit]:
    """Contributions (rows, fields) or (rows, fields, outputs), the base where there is one output, and the unit."""
    before, last = _parts(estimator)
    seen, background = (_transformed(before or [], given) for given in (rows, explainer.background))
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")
        shap = import_module("shap")  # takes seconds, and most processes never need it
        if kind == "LinearExplainer":
            found = shap.LinearExplainer(last, shap.maskers.Independent(background, len(background)))(seen)
        else:
            found = shap.TreeExplainer(last, background, feature_perturbation="interventional")(seen)
    values, base = np.asarray(found.values, dtype=np.float64), np.asarray(found.base_values, dtype=np.float64)
    return _in_one_unit(values, base, last, explainer.predictor.package.calibrator)


def _in_one_unit(values: Floats, base: Floats, estimator: Any, calibrator: Any) -> tuple[Floats, float | None, Unit]:
    if not hasattr(estimator, "predict_proba"):
        return values, float(base.flat[0]), "value"
    unit: Unit = "probability" if _votes(values, base) else "log_odds"
    if values.ndim == 3 and values.shape[2] == 2:  # noqa: PLR2004 - two classes: the second is the positive one
        values, base = values[:, :, 1], base[..., 1]
    if values.ndim == 3:  # noqa: PLR2004 - a class each
        return values, None, unit
    line = calibrator if unit == "log_odds" and isinstance(calibrator, LogisticCalibrator) else LogisticCalibrator()
    return line.a * values, line.a * float(base.flat[0]) + line.b, unit


def _calibrated(explainer: Explainer, unit: Unit) -> bool:
    calibrator = explainer.predictor.package.calibrator
    return calibrator is None or (unit == "log_odds" and isinstance(calibrator, LogisticCalibrator))


def _votes(values: Floats, base: Floats) -> bool:
    """Whether the outputs are probabilities, which forests average: together they are always 1."""
    return values.ndim == 3 and bool(np.allclose(base.sum(axis=-1), 1))  # noqa: PLR2004 - an output for each class


def _transformed(before: list[Any], rows: Rows) -> Floats:
    for step in before:
        rows = step.transform(rows)
    return np.asarray(rows, dtype=np.float64)
