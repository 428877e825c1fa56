"""LightGBM's own models, in its text format."""

import ctypes
import threading
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.evaluation.kind import Output
from loopline.models.runtimes.runtime import Floats, as_output, required, unreadable

_NORMAL, _ALL, _FLOAT32 = 0, -1, 0  # of LightGBM's C API
_PARAMETERS = b"num_threads=1"


class LightGbmModel:
    """A booster. Missing values and native categories (by their codes) are handled as in training.

    Raises `Unavailable` where LightGBM is not installed and `Corrupt` for bytes that are no model.
    """

    def __init__(self, content: bytes, output: Output) -> None:
        library: Any = required("lightgbm")
        self._output = output
        try:
            self.estimator = library.Booster(model_str=content.decode())
        except (UnicodeDecodeError, library.basic.LightGBMError) as error:
            raise unreadable("LightGBM", error, "Save it by booster.save_model().") from error
        self._width = self.estimator.num_feature()
        self._one = _proven(self.estimator, library, self._width)

    @property
    def features(self) -> list[str]:
        """The names of the features, in order."""
        return list(self.estimator.feature_name())

    def outputs(self, matrix: npt.NDArray[np.float32]) -> Floats:
        """As `Runtime` says."""
        if self._one is not None and matrix.shape == (1, self._width):
            return as_output(self._one(matrix), self._output)
        return as_output(self.estimator.predict(matrix, num_threads=1), self._output)


class _OneRow:
    """One row through LightGBM's C API, which parses its parameters once and not at every call: a tenth of the time of
    `Booster.predict`. The buffers are shared, so a lock keeps threads apart.
    """

    def __init__(self, booster: Any, library: Any, width: int) -> None:
        api = library.basic._LIB  # noqa: SLF001 - LightGBM's Python shows no single-row prediction
        self._predict = api.LGBM_BoosterPredictForMatSingleRowFast
        config = ctypes.c_void_p()
        said = api.LGBM_BoosterPredictForMatSingleRowFastInit(
            booster._handle,  # noqa: SLF001
            ctypes.c_int(_NORMAL),
            ctypes.c_int(0),
            ctypes.c_int(_ALL),
            ctypes.c_int(_FLOAT32),
            ctypes.c_int32(width),
            ctypes.c_char_p(_PARAMETERS),
            ctypes.byref(config),
        )
        if said:
            raise OSError("LightGBM prepares no single-row prediction")
        self._config, self._booster = config, booster  # the handle must outlive what was prepared of it
        weakref.finalize(self, api.LGBM_FastConfigFree, config)
        self._row: npt.NDArray[np.float32] = np.zeros(width, dtype=np.float32)
        self._found = np.zeros(max(1, booster.num_model_per_iteration()))
        self._count = ctypes.c_int64()
        self._arguments = (
            self._row.ctypes.data_as(ctypes.c_void_p),
            ctypes.byref(self._count),
            self._found.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
        )
        self._lock = threading.Lock()

    def __call__(self, matrix: npt.NDArray[np.float32]) -> Floats:
        """The outputs of a matrix of one row: float64 of shape (1,), or (1, classes)."""
        with self._lock:
            self._row[:] = matrix[0]
            if self._predict(self._config, *self._arguments) or self._count.value != len(self._found):
                raise OSError("LightGBM's single-row prediction fails")
            found = self._found.copy()
        return found if len(found) == 1 else found[None]


def _proven(booster: Any, library: Any, width: int) -> _OneRow | None:
    """Prediction of single rows, if it gives the very numbers of `Booster.predict` on rows of every size; else None."""
    try:
        one = _OneRow(booster, library, width)
        rows = _probes(width)
        same = all(
            np.array_equal(one(row[None]), booster.predict(row[None], num_threads=1), equal_nan=True) for row in rows
        )
    except (AttributeError, OSError, TypeError, library.basic.LightGBMError):  # another LightGBM, without it
        return None
    return one if same else None


def _probes(width: int) -> npt.NDArray[np.float32]:
    steps = np.arange(width, dtype=np.float32)
    rows = [np.zeros(width), steps, -steps, 1e3 * steps, np.where(steps % 2, np.nan, steps), np.full(width, np.nan)]
    return np.array(rows, dtype=np.float32)
