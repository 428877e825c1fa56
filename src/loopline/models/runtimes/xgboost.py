"""XGBoost's own models, in its JSON or UBJSON format."""

import json
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.evaluation.kind import Output
from loopline.models.runtimes.runtime import as_output, required, unreadable


class XGBoostModel:
    """A booster; where training stopped early, its best iterations. NaN is a missing value.

    Raises `Unavailable` where XGBoost is not installed and `Corrupt` for bytes that are no model.
    """

    def __init__(self, content: bytes, output: Output) -> None:
        library: Any = required("xgboost")
        self._output = output
        self._library = library
        try:
            self._booster = library.Booster(params={"nthread": 1}, model_file=bytearray(content))
        except library.core.XGBoostError as error:
            raise unreadable("XGBoost", error, "Save it by booster.save_model() as .json or .ubj.") from error
        best = self._booster.attr("best_iteration")
        self._iterations = (0, int(best) + 1 if best is not None else 0)
        self._lock = threading.Lock()

    @property
    def features(self) -> list[str]:
        """The names of the features, in order; none where it was trained without."""
        return list(self._booster.feature_names or [])

    @property
    def objective(self) -> str:
        """What it was trained for, e.g. `binary:logistic`."""
        config = json.loads(self._booster.save_config())
        return str(config["learner"]["objective"]["name"])

    def outputs(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """As `Runtime` says."""
        with self._lock:  # inplace_predict caches per booster
            found = self._booster.inplace_predict(matrix, iteration_range=self._iterations, validate_features=False)
        return as_output(np.asarray(found), self._output)
