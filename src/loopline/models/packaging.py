"""Packaging: a fitted estimator becomes an artifact that serves without pickle, or is refused."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.calibrator import Calibrator
from loopline.evaluation.kind import Output
from loopline.models import parity
from loopline.models.conversion import to_onnx
from loopline.models.estimator import class_places, library_of, parts_of
from loopline.models.package import ModelPackage, Parity
from loopline.models.runtimes import skops
from loopline.models.runtimes.opening import open_model
from loopline.models.runtimes.runtime import Format
from loopline.models.signature import Signature
from loopline.storage.artifacts import ArtifactStore

Rows = npt.NDArray[np.float32]

_LIBRARIES: dict[Format, tuple[str, ...]] = {
    "onnx": ("scikit-learn", "skl2onnx", "onnx", "onnxruntime"),
    "skops": ("scikit-learn", "skops"),
    "lightgbm": ("lightgbm",),
    "xgboost": ("xgboost",),
}
_DISTRIBUTIONS = {"xgboost": ("xgboost", "xgboost-cpu")}
_ALWAYS = ("loopline", "numpy")


class _Compiled(NamedTuple):
    """The bytes of each part in one format, and what the proof found of each."""

    format: Format
    contents: list[bytes]
    proofs: list[Parity]


def package(
    estimator: Any,
    signature: Signature,
    rows: Rows,
    *,
    calibrator: Calibrator | None,
    artifacts: ArtifactStore,
    tolerance: float = 1e-5,
) -> ModelPackage:
    """Compile a fitted estimator of the signature's kind, prove that it scores the same, and store model and package.

    LightGBM's and XGBoost's models keep their own format. scikit-learn's become ONNX; where one does not convert, or scores
    otherwise once converted, it is kept by skops, if it is made of types that are safe to read. `rows` are real rows as
    `signature.encode` gives them: float32, shape (n, number of fields). The same estimator, signature, rows and libraries give
    the same bytes.

    Raises `InvalidInput`, and stores nothing, for what is no such estimator over these rows (`model.not_binary`,
    `model.other_kind`, `model.no_quantiles`, `model.rows`, `model.missing_values`), or can be kept in no format
    (`model.not_convertible`, `model.native_categories`, `model.parity_failed`, `model.untrusted_type`).
    """
    output = signature.output
    parts = parts_of(estimator, output)
    places = class_places(*parts[0])
    _require_rows(rows, len(signature.fields))
    takes_missing = all(parity.takes_missing(part, len(signature.fields), of) for part, of in parts)
    _require_what_it_takes(estimator, rows, takes_missing=takes_missing)
    compiled = _compile(parts, signature, rows, tolerance)
    made = ModelPackage(
        format=compiled.format,
        models=tuple(artifacts.put(content) for content in compiled.contents),
        class_places=places,
        signature=signature,
        calibrator=calibrator,
        takes_missing=takes_missing,
        parity=_joined(compiled.proofs),
        libraries=libraries_of(compiled.format),
    )
    artifacts.put(made.encoded())
    return made


def libraries_of(name: Format) -> dict[str, str]:
    """The versions of the libraries that a package in this format rests on, as they are installed."""
    return {library: _version(library) for library in (*_ALWAYS, *_LIBRARIES[name])}


def _compile(parts: Sequence[tuple[Any, Output]], signature: Signature, rows: Rows, tolerance: float) -> _Compiled:
    formats = _formats(parts[0][0])
    refused: list[InvalidInput] = []
    for name in formats:
        try:
            return _in_format(name, parts, signature, rows, tolerance)
        except InvalidInput as error:
            refused.append(error)
    raise refused[0]


def _formats(estimator: Any) -> tuple[Format, ...]:
    library = library_of(estimator)
    if library == "lightgbm":
        return ("lightgbm",)
    return ("xgboost",) if library == "xgboost" else ("onnx", "skops")


def _in_format(
    name: Format, parts: Sequence[tuple[Any, Output]], signature: Signature, rows: Rows, tolerance: float
) -> _Compiled:
    contents = [_WRITERS[name](part, len(signature.fields)) for part, _ in parts]
    proofs = [
        parity.prove(part, open_model(name, content, of), signature, rows, tolerance, of)
        for (part, of), content in zip(parts, contents, strict=True)
    ]
    return _Compiled(name, contents, proofs)


def _lightgbm(estimator: Any, fields: int) -> bytes:  # noqa: ARG001 - as the other writers
    text: str = getattr(estimator, "booster_", estimator).model_to_string()
    return text.encode()


def _xgboost(estimator: Any, fields: int) -> bytes:  # noqa: ARG001 - as the other writers
    booster = estimator.get_booster() if hasattr(estimator, "get_booster") else estimator
    return bytes(booster.save_raw("ubj"))


def _skops(estimator: Any, fields: int) -> bytes:  # noqa: ARG001 - as the other writers
    return skops.dump(estimator)


_WRITERS: dict[Format, Callable[[Any, int], bytes]] = {
    "onnx": to_onnx,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "skops": _skops,
}


def _joined(proofs: Sequence[Parity]) -> Parity:
    """One proof for all parts."""
    first = proofs[0]
    return Parity(
        rows=first.rows,
        cases={kind: sum(proof.cases[kind] for proof in proofs) for kind in first.cases},
        thresholds=sum(proof.thresholds for proof in proofs),
        thresholds_checked=sum(proof.thresholds_checked for proof in proofs),
        max_abs_difference=max(proof.max_abs_difference for proof in proofs),
        tolerance=first.tolerance,
    )


def _version(name: str) -> str:
    """Of the distribution that is installed: some libraries come under more than one name."""
    for distribution in _DISTRIBUTIONS.get(name, (name,)):
        try:
            return version(distribution)
        except ModuleNotFoundError:
            continue
    return "unknown"


def _require_rows(rows: Rows, fields: int) -> None:
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != fields or not len(rows):  # noqa: PLR2004 - a matrix
        raise InvalidInput(
            "model.rows",
            f"the proof needs float32 rows of {fields} fields, not {rows.dtype} of shape {rows.shape}",
            remedy="Give the matrix that signature.encode makes of real rows.",
        )


def _require_what_it_takes(estimator: Any, rows: Rows, *, takes_missing: bool) -> None:
    if not takes_missing and np.isnan(rows).any():
        raise InvalidInput(
            "model.missing_values",
            f"{type(estimator).__name__} takes no missing values, but the rows have some",
            remedy="Train it in a pipeline with an imputer, or use an estimator that takes missing values.",
        )
