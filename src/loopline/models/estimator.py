"""A fitted estimator as training functions return it: what it scores, and whether it is what its kind asks for."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.models.runtimes.runtime import as_output, required

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_CLASSIFIERS = {"binary", "multiclass"}


def library_of(estimator: Any) -> str:
    """The library it comes from, such as `sklearn`, `lightgbm` or `xgboost`."""
    return type(estimator).__module__.partition(".")[0]


def is_runtime(estimator: Any) -> bool:
    """Whether it is a model that was opened from bytes and not fitted here: its `estimator` is what its library read."""
    return hasattr(estimator, "outputs") and hasattr(estimator, "estimator")


def parts_of(estimator: Any, output: Output) -> list[tuple[Any, Output]]:
    """The estimators that together make the model, each with its own output: for quantiles one for each level, else itself.

    Raises `InvalidInput` where quantiles do not come as a mapping from every level to its estimator.
    """
    if output.kind != "quantile":
        return [(estimator, output)]
    if not isinstance(estimator, Mapping) or set(estimator) != set(output.levels):
        raise InvalidInput(
            "model.no_quantiles",
            f"a model of the quantiles {list(output.levels)} needs an estimator for each of them",
            remedy="Return a mapping from level to fitted estimator: `{level: fit(level) for level in train.levels}`.",
        )
    return [(estimator[level], Output("regression")) for level in output.levels]


def class_places(estimator: Any, output: Output) -> tuple[int, ...]:
    """For several classes, the place among them of each that the estimator has seen, in the order of its columns.

    Raises `InvalidInput` for an estimator that is not what its kind asks for.
    """
    if is_runtime(estimator):
        return tuple(range(len(output.classes)))
    if output.kind not in _CLASSIFIERS:
        known = hasattr(estimator, "predict") or library_of(estimator) == "torch"
        _require(known, estimator, output, "a fitted regressor")
        return ()
    if library_of(estimator) in {"lightgbm", "xgboost"} and not hasattr(estimator, "predict_proba"):
        return tuple(range(len(output.classes)))  # a booster names no classes: its columns are the codes it was given
    if library_of(estimator) == "torch":
        return tuple(range(len(output.classes)))  # as boosters
    classes = getattr(estimator, "classes_", None)
    able = classes is not None and hasattr(estimator, "predict_proba")
    if output.kind == "binary":
        _require(able and len(classes) == 2, estimator, output, "a fitted classifier of two classes with probabilities")  # type: ignore[arg-type] # noqa: PLR2004 - two
        return ()
    known = able and set(np.asarray(classes).tolist()) <= set(range(len(output.classes)))
    _require(known, estimator, output, "a fitted classifier of the codes in train.y with probabilities")
    return tuple(int(place) for place in classes)  # type: ignore[union-attr]


def estimate(estimator: Any, rows: Rows, output: Output) -> Floats:
    """What the fitted estimator gives for float32 rows of shape (n, k), as `evaluation.kind.Output` says.

    Raises `InvalidInput` as `parts_of` and `class_places` do.
    """
    if is_runtime(estimator):
        return output.shaped(estimator.outputs(rows))
    parts = parts_of(estimator, output)
    if output.kind == "quantile":
        return np.column_stack([_raw(part, rows, of) for part, of in parts])
    return widened(_raw(estimator, rows, output), class_places(estimator, output), output)


def widened(found: Floats, places: tuple[int, ...], output: Output) -> Floats:
    """Probabilities of the classes at `places` among all classes; one that the model never saw has probability 0."""
    if output.kind != "multiclass" or found.shape[1] == output.width:
        return found
    whole = np.zeros((len(found), output.width))
    whole[:, list(places)] = found
    return whole


def _raw(estimator: Any, rows: Rows, output: Output) -> Floats:
    if library_of(estimator) == "torch":
        return as_output(_run(estimator, rows), output)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        if output.kind in _CLASSIFIERS and hasattr(estimator, "predict_proba"):
            return as_output(np.asarray(estimator.predict_proba(rows)), output)
        if hasattr(estimator, "inplace_predict"):
            return as_output(np.asarray(estimator.inplace_predict(rows)), output)
        return as_output(np.asarray(estimator.predict(rows)), output)


def _run(module: Any, rows: Rows) -> npt.NDArray[np.generic]:
    """What a torch module gives, as it does in use and not in training."""
    torch: Any = required("torch")
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            found: npt.NDArray[np.generic] = module(torch.from_numpy(np.ascontiguousarray(rows))).cpu().numpy()
    finally:
        module.train(training)
    return found


def _require(found: bool, estimator: Any, output: Output, wanted: str) -> None:  # noqa: FBT001 - a private check
    if not found:
        code = "model.not_binary" if output.kind == "binary" else "model.other_kind"
        raise InvalidInput(
            code,
            f"{type(estimator).__name__} is not {wanted}",
            remedy=f"Return a fitted estimator for a {output.kind} model from the training function.",
        )
