"""Losses of a predicted probability, row by row, by name."""

from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import NotFound

Floats = npt.NDArray[np.float64]

CLIP = 1e-4


class Loss(msgspec.Struct, frozen=True):
    """A named loss: `rows(p, y)` gives each row's, which lies in [`lower`, `upper`]; less is better.

    `of_base_rate(rate)` is the mean loss of always predicting the rate itself where it is true: what there is to win for a
    model that knows more.
    """

    name: str
    rows: Callable[[npt.ArrayLike, npt.ArrayLike], Floats]
    lower: float
    upper: float
    of_base_rate: Callable[[float], float]


def log_loss(p: npt.ArrayLike, y: npt.ArrayLike, clip: float = CLIP) -> Floats:
    """`-log` of the probability given to what happened, in nats, with `p` clipped into [clip, 1 - clip].

    `p` and `y` have one shape; `y` is 0 or 1, a NaN in either gives NaN.
    """
    inside = np.clip(np.asarray(p, dtype=np.float64), clip, 1 - clip)
    labels = np.asarray(y, dtype=np.float64)
    return -(labels * np.log(inside) + (1 - labels) * np.log1p(-inside))


def brier(p: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
    """The squared distance of the probability from the label, in [0, 1]."""
    return (np.asarray(p, dtype=np.float64) - np.asarray(y, dtype=np.float64)) ** 2


def zero_one(p: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
    """1 where the likelier class is not what happened, 0 where it is; a probability of a half predicts a 1."""
    scores, labels = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    wrong = ((scores >= 0.5) != (labels == 1)).astype(np.float64)  # noqa: PLR2004  # a half is a half
    return np.where(np.isnan(scores) | np.isnan(labels), np.nan, wrong)


def entropy(base_rate: float, clip: float = CLIP) -> float:
    """The mean log loss, in nats, of always predicting the true base rate; the rate is clipped as in `log_loss`."""
    inside = min(max(base_rate, clip), 1 - clip)
    return float(-(base_rate * np.log(inside) + (1 - base_rate) * np.log1p(-inside)))


def _variance(base_rate: float) -> float:
    return base_rate * (1 - base_rate)


def _rarer(base_rate: float) -> float:
    return min(base_rate, 1 - base_rate)


_SURE = np.array([0.0, 1.0])

LOSSES = {
    loss.name: loss
    for loss in (
        Loss(
            "log_loss",
            log_loss,
            float(log_loss(_SURE, _SURE).min()),
            float(log_loss(_SURE, _SURE[::-1]).max()),
            entropy,
        ),
        Loss("brier", brier, 0.0, 1.0, _variance),
        Loss("zero_one", zero_one, 0.0, 1.0, _rarer),
    )
}


def named(name: str) -> Loss:
    """The loss of that name. Raises `NotFound`."""
    if name not in LOSSES:
        raise NotFound("loss.unknown", f"there is no loss {name!r}", remedy=f"Use one of {', '.join(sorted(LOSSES))}.")
    return LOSSES[name]
