"""Packaging: a fitted scikit-learn classifier becomes an artifact that serves without scikit-learn, or is refused."""

from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.calibrators import Calibrator
from loopline.models import parity
from loopline.models.conversion import to_onnx
from loopline.models.package import ModelPackage
from loopline.models.runtimes.onnx import OnnxModel
from loopline.models.signature import Signature
from loopline.storage.artifacts import ArtifactStore

_LIBRARIES = ("loopline", "scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy")


def package(
    estimator: Any,
    signature: Signature,
    rows: npt.NDArray[np.float32],
    *,
    calibrator: Calibrator | None,
    artifacts: ArtifactStore,
    tolerance: float = 1e-5,
) -> ModelPackage:
    """Compile a fitted binary classifier to ONNX, prove that it scores the same, and store model and package.

    `rows` are real rows as `signature.encode` gives them: float32, shape (n, number of fields). The same estimator,
    signature, rows and libraries give the same bytes. Raises `InvalidInput`, and stores nothing, for what is no binary
    classifier over these rows (`model.not_binary`, `model.rows`, `model.missing_values`), does not convert (`model.not_convertible`,
    `model.native_categories`), or scores otherwise once compiled (`model.parity_failed`).
    """
    _require_binary(estimator)
    _require_rows(rows, len(signature.fields))
    takes_missing = parity.takes_missing(estimator, len(signature.fields))
    _require_what_it_takes(estimator, rows, takes_missing=takes_missing)
    content = to_onnx(estimator, len(signature.fields))
    proof = parity.prove(estimator, OnnxModel(content), signature, rows, tolerance)
    made = ModelPackage(
        onnx=artifacts.put(content),
        signature=signature,
        calibrator=calibrator,
        takes_missing=takes_missing,
        parity=proof,
        libraries={name: version(name) for name in _LIBRARIES},
    )
    artifacts.put(made.encoded())
    return made


def _require_binary(estimator: Any) -> None:
    classes = getattr(estimator, "classes_", None)
    if classes is None or len(classes) != 2 or not hasattr(estimator, "predict_proba"):  # noqa: PLR2004 - binary is two
        raise InvalidInput(
            "model.not_binary",
            f"{type(estimator).__name__} is not a fitted classifier of two classes with probabilities",
            remedy="Return the fitted classifier from the training function.",
        )


def _require_rows(rows: npt.NDArray[np.float32], fields: int) -> None:
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != fields or not len(rows):  # noqa: PLR2004 - a matrix
        raise InvalidInput(
            "model.rows",
            f"the proof needs float32 rows of {fields} fields, not {rows.dtype} of shape {rows.shape}",
            remedy="Give the matrix that signature.encode makes of real rows.",
        )


def _require_what_it_takes(estimator: Any, rows: npt.NDArray[np.float32], *, takes_missing: bool) -> None:
    if not takes_missing and np.isnan(rows).any():
        raise InvalidInput(
            "model.missing_values",
            f"{type(estimator).__name__} takes no missing values, but the rows have some",
            remedy="Train it in a pipeline with an imputer, or use an estimator that takes missing values.",
        )
