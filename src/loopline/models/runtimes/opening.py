"""From a package's format to the runtime that reads it; a library is imported when a model needs it."""

from importlib import import_module
from typing import cast

from loopline.evaluation.kind import Output
from loopline.models.runtimes.python import NOT_ALLOWED, PythonModel, PythonModels
from loopline.models.runtimes.runtime import Format, Runtime

_CLASSES: dict[Format, str] = {
    "onnx": "OnnxModel",
    "lightgbm": "LightGbmModel",
    "xgboost": "XGBoostModel",
    "skops": "SkopsModel",
    "safetensors": "SafetensorsModel",
}


def open_model(format_: Format, content: bytes, output: Output, python: PythonModels = NOT_ALLOWED) -> Runtime:
    """The model in `content`; `python` says whether users' own code may run here. Raises `Corrupt`, `InvalidInput` and
    `Unavailable` as its runtime does.
    """
    if format_ == "python":
        return PythonModel(content, output, python)
    module = import_module(f"loopline.models.runtimes.{format_}")
    return cast("Runtime", getattr(module, _CLASSES[format_])(content, output))
