"""A smoke test: whether a version can still score at all."""

import numpy as np

from loopline.errors import Unavailable
from loopline.models.predictor import Predictor


def smoke_test(predictor: Predictor) -> None:
    """Score a row of zeros and one of missing values. Raises `Unavailable` where a score is no probability."""
    fields = len(predictor.signature.fields)
    rows = np.stack([np.zeros(fields, dtype=np.float32), np.full(fields, np.nan, dtype=np.float32)])
    scores = predictor.scores(rows)
    if not (np.isfinite(scores).all() and ((scores >= 0) & (scores <= 1)).all()):
        raise Unavailable(
            "rollback.smoke_test_failed",
            f"the version scores {scores.tolist()} on two trial rows",
            remedy="Roll back to another version with --to.",
        )
