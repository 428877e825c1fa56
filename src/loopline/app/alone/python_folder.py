"""A folder with a user's own model.py, to be served in a process of its own where that was allowed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from loopline.app.alone.model_file import PROBED, Asked, ModelFile, columns_of, kind_of, require_scores, scores_missing
from loopline.evaluation.kind import Output
from loopline.models.runtimes.python import Facts, PythonModel, PythonModels, fields_of, pack
from loopline.models.signature import Signature, infer

_ANY_TARGETS = Output("multioutput", targets=("0", "1"))


def read_folder(
    folder: Path, sample: pl.DataFrame, apart: Sequence[str], asked: Asked, allowed: PythonModels, python: str = ""
) -> ModelFile:
    """The model in the folder, with fields from `sample`; texts are categories, and reach the code as texts.

    Raises `Unavailable` "python.not_allowed", and as `read_model` does.
    """
    names = asked.features or tuple(column for column in sample.columns if column not in apart)
    rows = columns_of(sample, names)
    fields = infer(rows, None, set(rows.columns)).fields
    texts = [field.categories if field.kind == "category" else None for field in fields]
    content = pack(folder, Facts(fields_of([field.name for field in fields], texts), python))
    matrix = Signature(fields=fields).encode(rows.head(PROBED))
    tried = PythonModel(content, _ANY_TARGETS, allowed)
    try:
        output = kind_of(_width(tried, matrix), asked)
    finally:
        tried.close()
    signature = Signature(fields=fields, output=output)
    runtime = PythonModel(content, output, allowed)
    require_scores(runtime, signature, matrix)
    return ModelFile("python", content, runtime, signature, scores_missing(runtime, len(fields)))


def _width(model: PythonModel, matrix: np.ndarray) -> Output:
    """One number a row, or several targets, as the model answers."""
    width = model.outputs(matrix[:1]).shape[1]
    return Output("multioutput", targets=tuple(map(str, range(width)))) if width > 1 else Output("regression")
