"""What comes of a fit, wherever it was made: the package, what its decision is learnt from, and perhaps what its fields do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.evaluation.calibrators import Calibration
from loopline.models.background import BACKGROUND, background_rows
from loopline.models.explainer import explainer_of
from loopline.models.explanation import SUMMARY, ExplanationSummary
from loopline.models.package import ModelPackage
from loopline.models.predictor import Predictor, opened
from loopline.models.signature import Signature
from loopline.storage.artifacts import ArtifactStore
from loopline.training.explanation import summarise_fit
from loopline.training.fit import FitFunction, Fitted, fitted
from loopline.training.packaged import packaged
from loopline.training.training_set import TrainingSet
from loopline.values import derive_seed


@dataclass(frozen=True)
class Explained:
    """Which rows a summary of explanations is made on: float32 (n, fields), and what these are called."""

    rows: npt.NDArray[np.float32]
    of_rows: str


@dataclass(frozen=True)
class FitOutcome:
    """A fit without its estimator, which may be in another process. Scores and labels as in `Fitted`."""

    package: ModelPackage
    calibration: Calibration
    unseen_scores: npt.NDArray[np.float64]
    unseen_labels: npt.NDArray[np.float64]
    summary: ExplanationSummary | None = None


def fit_outcome(
    function: FitFunction,
    params: Mapping[str, Any],
    signature: Signature,
    whole: TrainingSet,
    artifacts: ArtifactStore,
    *,
    seed: int,
    explained: Explained | None = None,
) -> FitOutcome:
    """Fit, package into `artifacts`, and explain if asked. Raises as `fitted` and `packaged`."""
    made = fitted(function, params, signature, whole, seed=seed)
    package = packaged(made, artifacts)
    summary = None if explained is None else _summary(made, package, artifacts, explained)
    return FitOutcome(package, made.calibration, made.unseen_scores, made.unseen_labels, summary)


def _summary(made: Fitted, package: ModelPackage, artifacts: ArtifactStore, explained: Explained) -> ExplanationSummary:
    seed, matrix = made.training_set.seed, made.training_set.X
    predictor = Predictor(package, opened(package, artifacts.get))
    explainer = explainer_of(artifacts, predictor, background_rows(matrix, derive_seed(seed, BACKGROUND)))
    rows = np.ascontiguousarray(explained.rows)
    return summarise_fit(made.estimator, explainer, rows, of_rows=explained.of_rows, seed=derive_seed(seed, SUMMARY))
