"""A model behind a circuit breaker."""

import math
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

import numpy as np
import numpy.typing as npt

from loopline.errors import Unavailable
from loopline.models.signature import Signature
from loopline.scoring.breaker import Breaker


class Scorer(Protocol):
    """What is needed of a model; `loopline.models.predictor.Predictor` is one."""

    signature: Signature

    def outputs(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]: ...


class Guarded:
    """Asks a model unless it fails again and again. `now` is monotonic, in seconds."""

    def __init__(self, scorer: Scorer, breaker: Breaker, *, now: Callable[[], float] = perf_counter) -> None:
        self.signature = scorer.signature
        self.breaker = breaker
        self._scorer = scorer
        self._now = now

    def outputs(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The model's outputs. Raises what it raises, `Unavailable` "scoring.not_finite_score", and "scoring.breaker_open" without
        asking it.
        """
        began = self._now()
        if not self.breaker.allows(began):
            raise Unavailable(
                "scoring.breaker_open",
                "the model failed too often and is left alone for a while",
                remedy="See the scoring process's log for how it fails; roll back where it goes on.",
            )
        try:
            outputs = finite(self._scorer.outputs(matrix))
        except Exception:
            self.breaker.failed(self._now())
            raise
        now = self._now()
        self.breaker.succeeded(now, now - began)
        return outputs


def finite(outputs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The outputs. Raises `Unavailable` "scoring.not_finite_score" where one is no finite number."""
    if not (math.isfinite(outputs.item()) if outputs.size == 1 else np.isfinite(outputs).all()):
        raise Unavailable("scoring.not_finite_score", "the model gave a score that is not finite")
    return outputs
