"""Packaging: a fitted estimator becomes an artifact that serves without pickle, or is refused."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from loopline.errors import Corrupt, InvalidInput
from loopline.evaluation.calibrator import Calibrator
from loopline.models import parity
from loopline.models.compiling import Compiled, compiled, joined
from loopline.models.conversion import to_onnx
from loopline.models.estimator import class_places, library_of, parts_of
from loopline.models.graph import How, Node
from loopline.models.graph_compiling import compiled_graph, is_graph
from loopline.models.libraries import libraries_of
from loopline.models.package import ModelPackage, Parity
from loopline.models.runtimes.opening import open_model
from loopline.models.runtimes.runtime import Format, Runtime
from loopline.models.signature import Signature
from loopline.storage.artifacts import ArtifactStore

Rows = npt.NDArray[np.float32]

_COMPILED: tuple[Format, ...] = ("lightgbm", "xgboost", "skops")
_UNPROVEN = Parity(
    rows=0,
    cases=dict.fromkeys(("real", "missing", "category", "boundary"), 0),
    thresholds=0,
    thresholds_checked=0,
    max_abs_difference=0.0,
    tolerance=0.0,
)


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
    if any(is_graph(part) for part, _ in parts):
        return _package_graph(estimator, signature, rows, calibrator, artifacts, tolerance, takes_missing=takes_missing)
    found = compiled(parts, signature, rows, tolerance)
    return _stored(
        ModelPackage(
            format=found.format,
            models=tuple(artifacts.put(content) for content in found.contents),
            class_places=places,
            signature=signature,
            calibrator=calibrator,
            takes_missing=takes_missing,
            parity=joined(found.proofs),
            libraries=libraries_of(found.format, library_of(parts[0][0])),
            refused=found.refused,
        ),
        artifacts,
    )


def _package_graph(
    estimator: Any,
    signature: Signature,
    rows: Rows,
    calibrator: Calibrator | None,
    artifacts: ArtifactStore,
    tolerance: float,
    *,
    takes_missing: bool,
) -> ModelPackage:
    if signature.output.kind == "quantile":
        raise InvalidInput(
            "model.graph_of_quantiles",
            "ensembles and chains of quantiles are not packaged",
            remedy="Return one estimator for each level.",
        )
    found = compiled_graph(estimator, signature, rows, tolerance)
    return _stored(
        ModelPackage(
            format="graph",
            models=tuple(artifacts.put(content) for content in found.contents),
            nodes=tuple(found.nodes),
            signature=signature,
            calibrator=calibrator,
            takes_missing=takes_missing,
            parity=found.proof,
            libraries=found.libraries,
            refused=found.refused,
        ),
        artifacts,
    )


def _stored(made: ModelPackage, artifacts: ArtifactStore) -> ModelPackage:
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
    found = _of_file(model, signature, rows, tolerance)
    return _stored(
        ModelPackage(
            format=found.format,
            models=tuple(artifacts.put(content) for content in found.contents),
            signature=signature,
            calibrator=None,
            takes_missing=model.takes_missing,
            parity=found.proofs[0],
            libraries=libraries_of(found.format, model.format),
            refused=found.refused,
        ),
        artifacts,
    )


def package_files(
    models: Sequence[Unproven],
    signature: Signature,
    rows: Rows,
    *,
    weights: Sequence[float],
    how: How = "mean",
    artifacts: ArtifactStore,
    tolerance: float = 1e-5,
) -> ModelPackage:
    """The same for several models over the same fields, which together answer as one: the mean of what they give, weighted by
    `weights` that add up to 1, or the greatest.
    """
    found = [_of_file(model, signature, rows, tolerance) for model in models]
    places = tuple(range(len(signature.output.classes)))
    nodes = [
        Node(output=signature.output, model=place, format=one.format, class_places=places)
        for place, one in enumerate(found)
    ]
    last = Node(output=signature.output, after=tuple(range(len(nodes))), how=how, weights=tuple(weights))
    refused = {f"{name} (model {at})": why for at, one in enumerate(found) for name, why in one.refused.items()}
    libraries = [libraries_of(one.format, model.format) for one, model in zip(found, models, strict=True)]
    return _stored(
        ModelPackage(
            format="graph",
            models=tuple(artifacts.put(one.contents[0]) for one in found),
            nodes=(*nodes, last),
            signature=signature,
            calibrator=None,
            takes_missing=all(model.takes_missing for model in models),
            parity=joined([one.proofs[0] for one in found]),
            libraries={name: version for one in libraries for name, version in one.items()},
            refused=refused,
        ),
        artifacts,
    )


def _of_file(model: Unproven, signature: Signature, rows: Rows, tolerance: float) -> Compiled:
    kept = rows if model.takes_missing else rows[~np.isnan(rows).any(axis=1)]
    # The file is the model: there is no estimator to compare it with.
    as_it_is = Compiled(model.format, [model.content], [_UNPROVEN], {})
    if model.format not in _COMPILED or not len(kept):
        return as_it_is
    try:
        content = to_onnx(model.runtime.estimator, len(signature.fields))  # type: ignore[attr-defined]
        opened = open_model("onnx", content, signature.output)
        proof = parity.prove(model.runtime, opened, signature, kept, tolerance, signature.output, graph=content)
    except (Corrupt, InvalidInput) as error:
        return as_it_is._replace(refused={"onnx": error.message})
    return Compiled("onnx", [content], [proof], {})


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
