"""How late labels come, and up to when the predictions have theirs."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MATURE = 0.95
_SETTLED = 0.5
_TYPICAL = 0.8
_ENOUGH = 50


class Lateness(msgspec.Struct, frozen=True):
    """Seconds from the prediction to its label: the median, and what 95 % of the labels that come do not exceed.

    `early` is the share of labels dated before their prediction.
    """

    median: float
    most: float
    early: float


def lateness(at: Ints, label_at: Ints) -> Lateness | None:
    """Of labelled predictions at `at` whose labels came at `label_at` (microseconds); None for fewer than 50.

    Measured on the earlier half of the time, whose labels have had as long again to come: the newest predictions only
    have the labels that came fast.
    """
    if not len(at):
        return None
    newest = max(int(at.max()), int(label_at.max()))
    settled = at <= int(at.min()) + (newest - int(at.min())) // 2
    seconds = (label_at - at)[settled if int(settled.sum()) >= _ENOUGH else slice(None)] / 1e6
    if len(seconds) < _ENOUGH:
        return None
    median, most = np.quantile(np.maximum(seconds, 0), [0.5, MATURE])
    return Lateness(float(median), float(most), float((seconds < 0).mean()))


def settled_blocks(coverage: Sequence[float]) -> int:
    """How many blocks from the first have their labels, judged by coverage alone: the last ones with less than half of what is
    typical still wait for them.
    """
    shares = np.asarray(coverage, dtype=np.float64)
    if not len(shares):
        return 0
    typical = float(np.median(shares[: max(1, math.ceil(_TYPICAL * len(shares)))]))
    settled = len(shares)
    while settled and shares[settled - 1] < _SETTLED * typical:
        settled -= 1
    return settled
