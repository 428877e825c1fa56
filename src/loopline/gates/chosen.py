"""What a decision says of each row, as numbers that measures of groups take."""

import numpy as np
import numpy.typing as npt

from loopline.decisions.policy import NEGATIVE, POSITIVE

Floats = npt.NDArray[np.float64]


def chosen(decisions: npt.ArrayLike) -> Floats:
    """1 where a decision is positive, 0 where negative, NaN where it is neither, as an abstention is. Shape (rows,)."""
    taken = np.asarray(decisions, dtype=np.str_)
    return np.where(taken == POSITIVE, 1.0, np.where(taken == NEGATIVE, 0.0, np.nan))
