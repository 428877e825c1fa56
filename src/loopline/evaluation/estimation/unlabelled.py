"""The estimate that fits a kind of model."""

import numpy as np
import numpy.typing as npt
import polars as pl
from threadpoolctl import threadpool_limits

from loopline.evaluation.estimation.confidence import estimate_by_confidence
from loopline.evaluation.estimation.direct import estimate_directly
from loopline.evaluation.estimation.estimate import EstimatedLoss, Past, cannot
from loopline.evaluation.kind import Output
from loopline.evaluation.losses import named

Floats = npt.NDArray[np.float64]

_OF_CLASSES = {"binary", "multiclass"}
_OF_NUMBERS = {"regression", "quantile"}


def estimate_loss(
    name: str, output: Output, past: Past, outputs: Floats, features: pl.DataFrame | None = None, seed: int = 0
) -> EstimatedLoss:
    """The mean of the loss `name` to be expected of rows with these outputs: CBPE or PAPE for classes, DLE for numbers.

    Abstains for other kinds, and for as little as the method cannot do with. Raises `NotFound` for a loss that there is not.
    """
    loss = named(name, output)
    with threadpool_limits(limits=1):
        if output.kind in _OF_CLASSES:
            return estimate_by_confidence(loss, past, outputs, features, seed)
        if output.kind in _OF_NUMBERS:
            return estimate_directly(loss, past, outputs, features, seed)
    return cannot("none", len(outputs), f"What a {output.kind} model loses cannot be estimated without labels.")
