"""Packaging: a fitted estimator becomes an artifact that serves without pickle, or is refused."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from loopline.errors import Corrupt, InvalidInput
from loopline.evaluation.calibrator import Calibrator
from loopline.evaluation.kind import Output
from loopline.models import parity
from loopline.models.boosters.booster import lightgbm_text, xgboost_bytes
from loopline.models.conversion import to_onnx
from loopline.models.estimator import class_places, library_of, parts_of
from loopline.models.package import ModelPackage, Parity
from loopline.models.runtimes import skops
from loopline.models.runtimes.opening import open_model
from loopline.models.runtimes.runtime import Format, Runtime
from loopline.models.signature import Signature
from loopline.storage.artifacts import ArtifactStore

Rows = npt.NDArray[np.float32]

_LIBRARIES: dict[Format, tuple[str, ...]] = {
    "onnx": ("scikit-learn", "skl2onnx", "onnx", "onnxruntime"),
    "skops": ("scikit-learn", "skops"),
    "lightgbm": ("lightgbm",),
    "xgboost": ("xgboost",),
}
_SOURCES: dict[tuple[Format, str], tuple[str, ...]] = {
    ("onnx", "lightgbm"): ("lightgbm", "onnx", "onnxruntime"),
    ("onnx", "xgboost"): ("xgboost", "onnx", "onnxruntime"),
}
_COMPILED: tuple[Format, ...] = ("lightgbm", "xgboost", "skops")
_DISTRIBUTIONS = {"xgboost": ("xgboost", "xgboost-cpu")}
_ALWAYS = ("loopline", "numpy")


class _Compiled(NamedTuple):
    """The bytes of each part in one format, and what the proof found of each."""

    format: Format
    contents: list[bytes]
    proofs: list[Parity]
    refused: dict[str, str]


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

    It becomes ONNX. Where it does not convert, or is not proven to score the same once converted, LightGBM's and XGBoost's models
    keep their own format, and scikit-learn's are kept by skops, if made of types that are safe to read; the package's
    `refused` says why. `rows` are real rows as
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
        libraries=libraries_of(compiled.format, library_of(parts[0][0])),
        refused=compiled.refused,
    )
    artifacts.put(made.encoded())
    return made


class Unproven(NamedTuple):
    """A model that something else wrote: its bytes, what reads them, and whether it scores rows with missing values."""

    format: Format
    content: bytes
    runtime: Runtime
    takes_missing: bool


def package_file(
    model: Unproven, signature: Signature, rows: Rows, *, artifacts: ArtifactStore, tolerance: float = 1e-5
) -> ModelPackage:
    """Store a model that something else wrote, and its package: as ONNX where it is proven to score as `model` does over `rows`,
    float32 of shape (n, number of fields), else as it is. The package's `refused` says why it was not compiled.
    """
    kept = rows if model.takes_missing else rows[~np.isnan(rows).any(axis=1)]
    # The file is the model: there is no estimator to compare it with.
    unproven = Parity(rows=0, cases={}, thresholds=0, thresholds_checked=0, max_abs_difference=0.0, tolerance=0.0)
    compiled = _Compiled(model.format, [model.content], [unproven], {})
    if model.format in _COMPILED and len(kept):
        try:
            content = to_onnx(model.runtime.estimator, len(signature.fields))  # type: ignore[attr-defined]
            opened = open_model("onnx", content, signature.output)
            proof = parity.prove(model.runtime, opened, signature, kept, tolerance, signature.output, graph=content)
            compiled = _Compiled("onnx", [content], [proof], {})
        except (Corrupt, InvalidInput) as error:
            compiled = compiled._replace(refused={"onnx": error.message})
    made = ModelPackage(
        format=compiled.format,
        models=tuple(artifacts.put(content) for content in compiled.contents),
        signature=signature,
        calibrator=None,
        takes_missing=model.takes_missing,
        parity=compiled.proofs[0],
        libraries=libraries_of(compiled.format, model.format),
        refused=compiled.refused,
    )
    artifacts.put(made.encoded())
    return made


def libraries_of(name: Format, source: str = "") -> dict[str, str]:
    """The versions of the libraries that a package in this format, made from an estimator of `source`, rests on, as they are
    installed.
    """
    made = _SOURCES.get((name, source), _LIBRARIES[name])
    return {library: _version(library) for library in (*_ALWAYS, *made)}


def _compile(parts: Sequence[tuple[Any, Output]], signature: Signature, rows: Rows, tolerance: float) -> _Compiled:
    refused: dict[str, str] = {}
    first: InvalidInput | None = None
    for name in _formats(parts[0][0]):
        try:
            contents, proofs = _in_format(name, parts, signature, rows, tolerance)
        except InvalidInput as error:
            first = first or error
            refused[name] = error.message
        else:
            return _Compiled(name, contents, proofs, refused)
    raise first or AssertionError("there is always a format to try")


def _formats(estimator: Any) -> tuple[Format, ...]:
    library = library_of(estimator)
    return _TRIED.get(library, ("onnx", "skops"))


def _in_format(
    name: Format, parts: Sequence[tuple[Any, Output]], signature: Signature, rows: Rows, tolerance: float
) -> tuple[list[bytes], list[Parity]]:
    contents = [_WRITERS[name](part, len(signature.fields)) for part, _ in parts]
    proofs = [
        parity.prove(
            part,
            open_model(name, content, of),
            signature,
            rows,
            tolerance,
            of,
            graph=content if name == "onnx" else b"",
        )
        for (part, of), content in zip(parts, contents, strict=True)
    ]
    return contents, proofs


_TRIED: dict[str, tuple[Format, ...]] = {"lightgbm": ("onnx", "lightgbm"), "xgboost": ("onnx", "xgboost")}
_WRITERS: dict[Format, Callable[[Any, int], bytes]] = {
    "onnx": to_onnx,
    "lightgbm": lambda estimator, _: lightgbm_text(estimator),
    "xgboost": lambda estimator, _: xgboost_bytes(estimator),
    "skops": lambda estimator, _: skops.dump(estimator),
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
        nodes_compared=sum(proof.nodes_compared for proof in proofs),
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
