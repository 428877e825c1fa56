"""LightGBM's own models, in its text format."""

from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.evaluation.kind import Output
from loopline.models.runtimes.runtime import as_output, required, unreadable


class LightGbmModel:
    """A booster. Missing values and native categories (by their codes) are handled as in training.

    Raises `Unavailable` where LightGBM is not installed and `Corrupt` for bytes that are no model.
    """

    def __init__(self, content: bytes, output: Output) -> None:
        library: Any = required("lightgbm")
        self._output = output
        try:
            self._booster = library.Booster(model_str=content.decode())
        except (UnicodeDecodeError, library.basic.LightGBMError) as error:
            raise unreadable("LightGBM", error, "Save it by booster.save_model().") from error

    @property
    def features(self) -> list[str]:
        """The names of the features, in order."""
        return list(self._booster.feature_name())

    def outputs(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """As `Runtime` says."""
        return as_output(self._booster.predict(matrix, num_threads=1), self._output)
