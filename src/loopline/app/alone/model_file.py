"""A model as a file that something else wrote: which format, which fields, what it gives back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from loopline.decisions.decision import AnyDecision, NoDecision
from loopline.decisions.policy import Decision
from loopline.errors import InvalidInput, NotFound
from loopline.evaluation.kind import BINARY, Kind, Output
from loopline.models.libraries import libraries_of
from loopline.models.network import read_network
from loopline.models.package import ModelPackage, Parity
from loopline.models.runtimes import onnx as onnx_runtime
from loopline.models.runtimes.lightgbm import LightGbmModel
from loopline.models.runtimes.opening import open_model
from loopline.models.runtimes.runtime import Format, Runtime
from loopline.models.runtimes.skops import SkopsModel
from loopline.models.runtimes.xgboost import XGBoostModel
from loopline.models.signature import Signature, infer

_ANY_TARGETS = Output("multioutput", targets=("0", "1"))
PROBED = 64
_TEXT = (pl.String, pl.Categorical, pl.Enum)
_PANDAS = "\npandas_categorical:"


@dataclass(frozen=True)
class ModelFile:
    """A model that is ready to be packaged: its bytes, what reads them, and what a row of it is."""

    format: Format
    content: bytes
    runtime: Runtime
    signature: Signature
    takes_missing: bool


@dataclass(frozen=True)
class Asked:
    """What a person says of the model; what is not said is found in the file and in the sample."""

    features: tuple[str, ...] = ()
    kind: Kind | None = None
    classes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


def format_of(content: bytes) -> Format:
    """From how the bytes begin. Raises `InvalidInput` for what is none of the known formats."""
    if content.startswith(b"tree\n"):
        return "lightgbm"
    if (content.lstrip()[:1] == b"{" and b'"learner"' in content) or content.startswith(b"{L"):
        return "xgboost"
    if content.startswith(b"PK\x03\x04"):
        return "skops"
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") < len(content):
        return "safetensors"
    if content.startswith((b"\x80", b"\x1f\x8b")):
        raise InvalidInput(
            "serve.pickle",
            "this is a pickle, and reading one runs whatever it holds",
            remedy="Save it as ONNX (skl2onnx), by booster.save_model(), or by skops.io.dump().",
        )
    return "onnx"


def read_model(path: Path, sample: pl.DataFrame, apart: Sequence[str], asked: Asked) -> ModelFile:
    """The model in the file, with fields from `sample`: the columns it names, or those that are not `apart`, in order.

    Raises `NotFound` without the file, `InvalidInput` where columns do not go with the model, `Corrupt` for bytes that are no model.
    """
    if not path.is_file():
        raise NotFound("serve.no_model", f"there is no model file {path}", remedy="Give its path.")
    content = path.read_bytes()
    form = format_of(content)
    names = asked.features or _named(form, content, sample) or tuple(c for c in sample.columns if c not in apart)
    rows = columns_of(sample, names)
    _refuse_texts(rows, form)
    fields = _signature(form, content, rows)
    matrix = fields.encode(rows.head(PROBED))
    output = _output(form, content, matrix, asked)
    signature = Signature(fields=fields.fields, output=output)
    runtime = open_model(form, content, output)
    require_scores(runtime, signature, signature.encode(rows.head(PROBED)))
    return ModelFile(form, content, runtime, signature, scores_missing(runtime, len(names)))


def decision_at(model: ModelFile, threshold: float) -> AnyDecision:
    """For two classes a threshold, priced so that it is the best one; else none: whoever asks decides.

    Raises `InvalidInput` "serve.threshold".
    """
    if model.signature.output.kind != "binary":
        return NoDecision()
    if not 0 < threshold < 1:
        raise InvalidInput("serve.threshold", f"{threshold} is no threshold", remedy="Give one between 0 and 1.")
    return Decision(threshold, 1 - threshold, min(threshold, 1 - threshold) / 2, threshold, threshold, threshold)


def package_of(model: ModelFile, content: str) -> ModelPackage:
    """The model as a package; `content` is the digest of its bytes. The file is the model: there is no estimator to compare with."""
    return ModelPackage(
        format=model.format,
        models=(content,),
        class_places=tuple(range(len(model.signature.output.classes))),
        signature=model.signature,
        calibrator=None,
        takes_missing=model.takes_missing,
        parity=Parity(rows=0, cases={}, thresholds=0, thresholds_checked=0, max_abs_difference=0.0, tolerance=0.0),
        libraries=libraries_of(model.format),
    )


def _named(form: Format, content: bytes, sample: pl.DataFrame) -> tuple[str, ...]:
    """The names that the file itself gives its fields, if the sample has them."""
    found: Sequence[str] = ()
    if form == "lightgbm":
        found = LightGbmModel(content, Output("regression")).features
    elif form == "xgboost":
        found = XGBoostModel(content, Output("regression")).features
    elif form == "skops":
        found = list(getattr(SkopsModel(content, BINARY).estimator, "feature_names_in_", ()))
    elif form == "onnx":
        inputs = onnx_runtime.input_names(content)
        found = inputs if len(inputs) > 1 else ()
    return tuple(found) if found and set(found) <= set(sample.columns) else ()


def columns_of(sample: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """These columns of the sample, truth values as numbers. Raises `InvalidInput` "serve.missing_columns"."""
    missing = [name for name in names if name not in sample.columns]
    if missing:
        raise InvalidInput(
            "serve.missing_columns",
            f"the sample lacks {', '.join(missing[:8])}",
            remedy=f"It has {', '.join(sample.columns[:20])}. Name the model's columns, in its order, with --features.",
        )
    return sample.select(names).with_columns(pl.col(pl.Boolean).cast(pl.Float64))


def _refuse_texts(rows: pl.DataFrame, form: Format) -> None:
    texts = [name for name, dtype in rows.schema.items() if dtype in _TEXT]
    if texts and form != "lightgbm":
        raise InvalidInput(
            "serve.text_columns",
            f"{', '.join(texts[:8])} hold texts, and the model takes numbers",
            remedy="Leave them out with --features, or give a sample with the codes that the model was trained on.",
        )


def _signature(form: Format, content: bytes, rows: pl.DataFrame) -> Signature:
    found = infer(rows, None, set(rows.columns))
    known = _pandas_categories(content) if form == "lightgbm" else []
    texts = [field.name for field in found.fields if field.kind == "category"]
    if not texts:
        return found
    if len(known) != len(texts):
        raise InvalidInput(
            "serve.text_columns",
            f"{', '.join(texts)} hold texts, and the model says nothing of their codes",
            remedy="Train LightGBM on pandas categories, which it keeps, or give a sample with the codes.",
        )
    ordered = dict(zip(texts, known, strict=True))
    fields = [
        msgspec.structs.replace(field, categories=ordered[field.name]) if field.name in ordered else field
        for field in found.fields
    ]
    return Signature(fields=tuple(fields))


def _pandas_categories(content: bytes) -> list[tuple[str, ...]]:
    text = content.decode(errors="replace")
    said = text.rpartition(_PANDAS)[2].strip() if _PANDAS in text else "null"
    return [tuple(map(str, categories)) for categories in json.loads(said) or []]


def _output(form: Format, content: bytes, matrix: np.ndarray, asked: Asked) -> Output:
    return kind_of(_FOUND[form](content, matrix), asked)


def kind_of(found: Output, asked: Asked) -> Output:
    """What a person says of the output, and else what was `found` in the model. Raises `InvalidInput` for what is not enough."""
    kind = asked.kind or ("multioutput" if asked.targets else found.kind)
    classes = asked.classes or (found.classes if kind == found.kind else ())
    if kind == "multiclass" and not classes:
        raise InvalidInput("serve.no_classes", "the classes are not known", remedy="Name them with --classes a,b,c.")
    if kind == "quantile":
        raise InvalidInput(
            "serve.quantile", "a file holds one quantile", remedy="Serve it as --kind regression, or declare a loop."
        )
    if kind == "multioutput":
        return Output(kind, targets=asked.targets or found.targets)
    return Output(kind, classes if kind == "multiclass" else ())


def _of_lightgbm(content: bytes, matrix: np.ndarray) -> Output:  # noqa: ARG001 - as the others
    objective = _line(content, "objective=")
    count = int(_line(content, "num_class=") or 1)
    if objective.startswith(("multiclass", "softmax")):
        return Output("multiclass", tuple(map(str, range(count))))
    return _by_objective(objective)


def _of_xgboost(content: bytes, matrix: np.ndarray) -> Output:
    model = XGBoostModel(content, Output("regression"))
    objective, targets = model.objective, model.targets
    if targets > 1:
        return Output("multioutput", targets=tuple(map(str, range(targets))))
    if objective.startswith("multi:"):
        values = open_model("xgboost", content, Output("multiclass", ("a", "b"))).outputs(matrix)
        return Output("multiclass", tuple(map(str, range(values.shape[1]))))
    return _by_objective(objective)


def _by_objective(objective: str) -> Output:
    if "rank" in objective or "xendcg" in objective:
        return Output("ranking")
    two = objective.startswith(("binary", "cross_entropy"))
    return BINARY if two else Output("regression")


def _of_skops(content: bytes, matrix: np.ndarray) -> Output:
    estimator: Any = SkopsModel(content, BINARY).estimator
    classes = getattr(estimator, "classes_", None)
    if classes is None or not hasattr(estimator, "predict_proba"):
        return _by_width(SkopsModel(content, _ANY_TARGETS), matrix)
    return BINARY if len(classes) == 2 else Output("multiclass", tuple(map(str, classes)))  # noqa: PLR2004 - two


def _by_width(model: SkopsModel, matrix: np.ndarray) -> Output:
    """One number a row, or several targets. Raises nothing: that it scores the rows at all is looked at later."""
    try:
        found = model.outputs(matrix[:1] if not np.isnan(matrix[:1]).any() else np.zeros_like(matrix[:1]))
    except Exception:  # each estimator has its own errors for rows of another width
        return Output("regression")
    wide = found.ndim > 1 and found.shape[1] > 1
    return Output("multioutput", targets=tuple(map(str, range(found.shape[1])))) if wide else Output("regression")


def _of_safetensors(content: bytes, matrix: np.ndarray) -> Output:
    network = read_network(content)
    if network.layers[-1].op == "sigmoid" and network.width == 1:
        return BINARY
    return onnx_runtime.probe(network.to_onnx(), matrix)


_FOUND = {
    "onnx": onnx_runtime.probe,
    "lightgbm": _of_lightgbm,
    "xgboost": _of_xgboost,
    "skops": _of_skops,
    "safetensors": _of_safetensors,
}


def _line(content: bytes, begins: str) -> str:
    text = content[:20_000].decode(errors="replace")
    return next((line.removeprefix(begins) for line in text.splitlines() if line.startswith(begins)), "")


def require_scores(runtime: Runtime, signature: Signature, matrix: np.ndarray) -> None:
    """Raise `InvalidInput` where the model does not give an output of its kind for every row of `matrix`."""
    try:
        found = signature.output.shaped(runtime.outputs(matrix))
    except Exception as error:  # each library has its own errors for rows of another width
        raise InvalidInput(
            "serve.rows_refused",
            f"the model does not score the sample's {len(signature.fields)} columns ({', '.join(signature.names[:10])}): {str(error)[:200]}",
            remedy="Name the columns it takes, in its order, with --features.",
        ) from error
    if len(found) != len(matrix):
        raise InvalidInput(
            "serve.other_shape", f"the model gives {len(found)} outputs for {len(matrix)} rows", remedy="Check --kind."
        )


def scores_missing(runtime: Runtime, fields: int) -> bool:
    """Whether a row of missing values gets a number."""
    try:
        found = runtime.outputs(np.full((1, fields), np.nan, dtype=np.float32))
    except Exception:  # whatever it raises, it does not take them
        return False
    return bool(np.isfinite(found).all())
