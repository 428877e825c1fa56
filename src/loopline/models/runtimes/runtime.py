"""What a runtime is to the rest: bytes in a known format, and outputs for rows."""

from collections.abc import Mapping
from importlib import import_module
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from loopline.errors import Corrupt, Unavailable
from loopline.evaluation.kind import Output

Format = Literal["onnx", "lightgbm", "xgboost", "skops", "safetensors", "python", "graph"]
Floats = npt.NDArray[np.float64]

_MESSAGE = 200
_MODULES: Mapping[str, str] = {"lightgbm": "lightgbm", "xgboost": "xgboost", "torch": "torch"}


class Runtime(Protocol):
    """One model's bytes, ready to run on one thread. Safe to share between threads."""

    def outputs(self, matrix: npt.NDArray[np.float32]) -> Floats:
        """The outputs for float32 rows of shape (n, k): float64 of shape (n,), or (n, classes) for several classes and
        (n, targets) for several targets.
        """
        ...


def required(name: str) -> object:
    """The library that runs a format. Raises `Unavailable` with the command that installs it."""
    try:
        return import_module(_MODULES[name])
    except ImportError as error:
        raise Unavailable(
            "model.library_missing",
            f"this model needs {name}, which is not installed here",
            remedy=f"pip install 'loopline[{name}]'",
        ) from error


def unreadable(library: str, error: Exception, remedy: str) -> Corrupt:
    """The error for bytes that `library` cannot read as a model."""
    return Corrupt("model.unreadable", f"{library} reads no model here: {str(error)[:_MESSAGE]}", remedy=remedy)


def as_output(found: npt.NDArray[np.generic], output: Output) -> Floats:
    """What a library gave, in the shape of the kind: the second of two probabilities, one column as a plain array."""
    values = found.astype(np.float64)
    if output.kind == "binary" and values.ndim > 1 and values.shape[1] == 2:  # noqa: PLR2004 - two classes
        return values[:, 1]
    return values if output.kind in {"multiclass", "multioutput"} else values.reshape(-1)
