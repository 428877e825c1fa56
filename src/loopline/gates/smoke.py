"""A smoke test: whether a version can still score at all."""

import numpy as np

from loopline.errors import Unavailable
from loopline.models.predictor import Predictor

_PROBABILITIES = {"binary", "multiclass"}


def smoke_test(predictor: Predictor) -> None:
    """Score a row of zeros and, where the model takes them, one of missing values.

    Raises `Unavailable` where an output is not finite, or is no probability where it should be one.
    """
    rows = np.zeros((1 + predictor.package.takes_missing, len(predictor.signature.fields)), dtype=np.float32)
    rows[1:] = np.nan
    scores = predictor.outputs(rows)
    probable = predictor.signature.output.kind not in _PROBABILITIES or ((scores >= 0) & (scores <= 1)).all()
    if not (np.isfinite(scores).all() and probable):
        raise Unavailable(
            "rollback.smoke_test_failed",
            f"the version scores {scores.tolist()} on trial rows",
            remedy="Roll back to another version with --to.",
        )
