"""A smoke test: whether a version can still score at all."""

import numpy as np

from loopline.errors import Unavailable
from loopline.models.predictor import Predictor


def smoke_test(predictor: Predictor) -> None:
    """Score a row of zeros and, where the model takes them, one of missing values.

    Raises `Unavailable` where a score is no probability.
    """
    rows = np.zeros((1 + predictor.package.takes_missing, len(predictor.signature.fields)), dtype=np.float32)
    rows[1:] = np.nan
    scores = predictor.scores(rows)
    if not (np.isfinite(scores).all() and ((scores >= 0) & (scores <= 1)).all()):
        raise Unavailable(
            "rollback.smoke_test_failed",
            f"the version scores {scores.tolist()} on trial rows",
            remedy="Roll back to another version with --to.",
        )
