"""One fit: the model's own function, a calibration learnt on rows it had not seen, on one thread."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from loopline.errors import InvalidInput
from loopline.evaluation.calibrators import Calibration, choose
from loopline.models.estimator import class_places, estimate, parts_of
from loopline.models.signature import Signature, infer
from loopline.training.training_set import LabelledRows, TrainingSet
from loopline.values import derive_seed

FitFunction = Callable[[TrainingSet, dict[str, Any]], Any]

CALIBRATION_SHARE = 0.2
LEAST_ROWS = 50


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator with all that is needed to use and to judge it.

    `unseen_scores` and `unseen_labels` are calibrated outputs, as the signature's `output` says, and labels of the calibration
    rows, scored by an estimator that had not seen them: the reference of the decision.
    """

    estimator: Any
    signature: Signature
    calibration: Calibration
    training_set: TrainingSet
    unseen_scores: np.ndarray
    unseen_labels: np.ndarray


def fit(
    function: FitFunction,
    params: Mapping[str, Any],
    rows: LabelledRows,
    *,
    seed: int,
    personal: AbstractSet[str] = frozenset(),
) -> Fitted:
    """Fit `function` on `rows`: `prepared`, then `fitted`. Raises as these."""
    signature, whole = prepared(rows, seed=seed, personal=personal)
    return fitted(function, params, signature, whole, seed=seed)


def prepared(rows: LabelledRows, *, seed: int, personal: AbstractSet[str]) -> tuple[Signature, TrainingSet]:
    """What is fitted on. The signature tells the bounds of `personal` features to two digits only. Raises `InvalidInput` for too few rows."""
    _check(rows)
    features = rows.frame.select(rows.recipe.feature_names)
    labels, given = rows.frame["label"].to_numpy(), set(rows.recipe.given)
    signature = infer(features, labels, given, rows.recipe.output).coarse(personal)
    return signature, rows.training_set(signature, derive_seed(seed, "fit"))


def fitted(
    function: FitFunction, params: Mapping[str, Any], signature: Signature, whole: TrainingSet, *, seed: int
) -> Fitted:
    """Fit `function` on a training set that is prepared.

    The calibration is chosen and learnt on the last fifth of the rows, scored by an estimator fitted on the four fifths
    before; then the estimator is fitted on all. One thread: sums split over threads differ in the last bit from machine to
    machine. Raises `InvalidInput` for one class only, or a result that is no estimator of its kind.
    """
    output, cut = whole.output, _cut(whole)
    with threadpool_limits(limits=1):
        early = estimator_of(function, whole.part(slice(None, cut), derive_seed(seed, "calibration")), params)
        later = whole.part(slice(cut, None), seed)
        later = later.part(~later.censored, seed)
        unseen = estimate(early, later.X, output)
        estimator = estimator_of(function, whole, params)
        calibration = choose(output.kind, unseen, later.y, levels=output.levels)
    return Fitted(estimator, signature, calibration, whole, calibration.apply(unseen), later.y)


def estimator_of(function: FitFunction, part: TrainingSet, params: Mapping[str, Any]) -> Any:
    """What `function` makes of `part`. Raises `InvalidInput` for one class only, for whatever the function raises, and for a
    result that is no estimator of its kind.
    """
    classes = part.output.kind in {"binary", "multiclass"}
    if classes and len(np.unique(part.y)) < 2:  # noqa: PLR2004 - two classes
        raise InvalidInput(
            "training.one_class",
            f"all {len(part)} training labels are {part.y[0]:g}",
            remedy="Wait for labels of both kinds, or check the label's expression.",
        )
    try:
        estimator = function(part, dict(params))
    except Exception as error:  # whatever the user's code raises is an outcome of training, not the end of the loop
        raise InvalidInput(
            "training.function_failed",
            f"the model's function failed on {len(part)} rows: {type(error).__name__}: {error}",
            remedy="Mend the function in the loop file; the log has the trace.",
        ) from error
    class_places(*parts_of(estimator, part.output)[0])
    return estimator


def _cut(whole: TrainingSet) -> int:
    """Where the last fifth begins; a group is not cut in two."""
    cut = int(len(whole) * (1 - CALIBRATION_SHARE))
    if whole.groups is None:
        return cut
    edges = np.cumsum(whole.group_sizes)
    return int(edges[max(0, int(np.searchsorted(edges, cut, side="right")) - 1)])


def _check(rows: LabelledRows) -> None:
    if rows.frame.height < LEAST_ROWS:
        raise InvalidInput(
            "training.too_few_rows",
            f"{rows.frame.height} labelled rows are too few to fit and calibrate on",
            remedy=f"Wait for at least {LEAST_ROWS}.",
        )
