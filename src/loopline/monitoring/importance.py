"""How much a score depends on a column, as far as one column alone shows it."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def dependence(codes: Ints, score: Floats) -> float:
    """The share of the score's variance that lies between the bins, in [0, 1]: the correlation ratio.

    `codes` and `score` have shape (rows,); a score that is NaN does not count. It is lowered by what bins that say nothing would
    show in so many rows. Pearson, On the general theory of skew correlation, 1905; Kelley, An unbiased correlation ratio
    measure, 1935.
    """
    known = ~np.isnan(score)
    codes, values = codes[known], score[known]
    if len(values) < 2 or np.ptp(values) == 0:  # noqa: PLR2004 - one value has no variance
        return 0.0
    centred = values - values.mean()
    rows = np.bincount(codes)
    sums = np.bincount(codes, weights=centred)
    between = float((sums[rows > 0] ** 2 / rows[rows > 0]).sum()) / float((centred**2).sum())
    groups = int((rows > 0).sum())
    if len(values) <= groups:
        return 0.0
    return max(0.0, 1 - (1 - between) * (len(values) - 1) / (len(values) - groups))
