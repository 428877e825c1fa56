"""XGBoost's own models, in its JSON or UBJSON format."""

import ctypes
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.evaluation.kind import Output
from loopline.models.runtimes.runtime import Floats, as_output, required, unreadable

_Predict = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


class XGBoostModel:
    """A booster; where training stopped early, its best iterations. NaN is a missing value.

    Raises `Unavailable` where XGBoost is not installed and `Corrupt` for bytes that are no model.
    """

    def __init__(self, content: bytes, output: Output) -> None:
        library: Any = required("xgboost")
        self._output = output
        try:
            self.estimator = library.Booster(params={"nthread": 1}, model_file=bytearray(content))
        except library.core.XGBoostError as error:
            raise unreadable("XGBoost", error, "Save it by booster.save_model() as .json or .ubj.") from error
        best = self.estimator.attr("best_iteration")
        self._iterations = (0, int(best) + 1 if best is not None else 0)
        self._library = library
        self._linear = self._config()["gradient_booster"]["name"] == "gblinear"  # it alone predicts no matrix in place
        self._lock = threading.Lock()
        self._width = self.estimator.num_features()
        self._dense = self._proven(library)

    @property
    def features(self) -> list[str]:
        """The names of the features, in order; none where it was trained without."""
        return list(self.estimator.feature_names or [])

    @property
    def objective(self) -> str:
        """What it was trained for, e.g. `binary:logistic`."""
        return str(self._config()["objective"]["name"])

    @property
    def targets(self) -> int:
        """How many numbers a regression gives for a row."""
        return int(self._config()["learner_model_param"].get("num_target", "1"))

    def _config(self) -> dict[str, Any]:
        learner: dict[str, Any] = json.loads(self.estimator.save_config())["learner"]
        return learner

    def outputs(self, matrix: npt.NDArray[np.float32]) -> Floats:
        """As `Runtime` says."""
        with self._lock:  # predictions are cached per booster
            if self._dense is not None and matrix.shape[1] == self._width:
                return as_output(self._dense(np.ascontiguousarray(matrix)), self._output)
            return as_output(self._many(matrix), self._output)

    def _many(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self._linear:
            rows = self._library.DMatrix(matrix, feature_names=self.estimator.feature_names)
            return np.asarray(self.estimator.predict(rows, iteration_range=self._iterations))
        return np.asarray(
            self.estimator.inplace_predict(matrix, iteration_range=self._iterations, validate_features=False)
        )

    def _proven(self, library: Any) -> _Predict | None:
        """The shorter way, if it gives the very numbers of `inplace_predict`; else None."""
        try:
            dense = _dense(self.estimator, library, self._iterations)
            rows = _probes(self._width)
            slow = self._many(rows)
            same = np.array_equal(dense(rows).reshape(slow.shape), slow, equal_nan=True)
        except (
            AttributeError,
            OSError,
            TypeError,
            ValueError,
            library.core.XGBoostError,
        ):  # another XGBoost, or other rows
            return None
        return dense if same else None


def _dense(booster: Any, library: Any, iterations: tuple[int, int]) -> _Predict:
    """Prediction through XGBoost's C API: `inplace_predict` without looking at its arguments, a third of its time."""
    predict = library.core._LIB.XGBoosterPredictFromDense  # noqa: SLF001 - the Python above it is what takes the time
    said = {"type": 0, "training": False, "missing": float("nan"), "strict_shape": True, "cache_id": 0}
    config = json.dumps(said | {"iteration_begin": iterations[0], "iteration_end": iterations[1]}).encode()

    def dense(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        shape, axes = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        found = ctypes.POINTER(ctypes.c_float)()
        array = b'{"data":[%d,true],"shape":[%d,%d],"typestr":"<f4","version":3}'
        told = array % (matrix.ctypes.data, *matrix.shape)
        out = (ctypes.byref(shape), ctypes.byref(axes), ctypes.byref(found))
        if predict(booster.handle, told, config, None, *out):
            raise OSError("XGBoost does not predict dense rows")
        sizes = tuple(shape[axis] for axis in range(axes.value))
        return np.ctypeslib.as_array(found, shape=sizes).copy()

    return dense


def _probes(width: int) -> npt.NDArray[np.float32]:
    steps = np.arange(width, dtype=np.float32)
    rows = [np.zeros(width), steps, -steps, 1e3 * steps, np.where(steps % 2, np.nan, steps), np.full(width, np.nan)]
    return np.array(rows, dtype=np.float32)
