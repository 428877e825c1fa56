"""Right-censored outcomes: weights that make up for rows whose observation ended too early, and losses that are sure all the same."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
RowLoss = Callable[[npt.ArrayLike, npt.ArrayLike], Floats]


def censoring_weights(times: npt.ArrayLike, censored: npt.ArrayLike) -> Floats:
    """The inverse probability of not being censored, for each row whose outcome is known; 0.0 where it is censored.

    `times` (rows,) in any one unit: how long the row was followed, which is until its event, until the horizon where nothing
    happened, or until observation ended. `censored` (rows,) is true where observation ended before either. The probability of
    being followed for longer is the Kaplan-Meier estimate of the censoring, just before the row's own time; at equal times
    events come before censorings. With it, weighted means over the known rows estimate those over all rows, if
    when observation ends tells nothing of what would have happened.

    Graf, Schmoor, Sauerbrei and Schumacher, Assessment and comparison of prognostic classification schemes for survival
    data, 1999; Robins and Rotnitzky, Recovery of information and adjustment for dependent censoring using surrogate
    markers, 1992. Raises `InvalidInput` for other shapes, or times that are negative or not finite.
    """
    t, gone = np.asarray(times, dtype=np.float64), np.asarray(censored, dtype=np.bool_)
    if t.ndim != 1 or t.shape != gone.shape or not np.all(np.isfinite(t) & (t >= 0)):
        raise InvalidInput(
            "evaluation.censoring",
            f"times of shape {t.shape} do not go with censorings of shape {gone.shape}, or are no lengths of time",
            remedy="Give each row the finite time it was followed for.",
        )
    moments, place = np.unique(t, return_inverse=True)
    lost = np.bincount(place[gone], minlength=len(moments)).astype(np.float64)
    left = np.bincount(place, minlength=len(moments))
    at_risk = left[::-1].cumsum()[::-1] - (left - lost)
    stays = 1 - np.divide(lost, at_risk, out=np.zeros_like(lost), where=at_risk > 0)
    before = np.concatenate([[1.0], np.cumprod(stays)[:-1]])[place] if len(t) else np.empty(0)
    return np.divide(1.0, before, out=np.zeros_like(before), where=~gone)


def sure_losses(rows: RowLoss, outputs: npt.ArrayLike, bounds: npt.ArrayLike) -> tuple[Floats, Mask]:
    """What each row's loss is at least, where its label is only known to be at least `bounds`; and for which rows that says something.

    `rows` is a loss that does not fall as the label moves up from the prediction: squared, absolute, pinball. `outputs` is
    (rows,) or (rows, k), `bounds` (rows,). A prediction at or below the bound has at least the loss it has there. A
    prediction above it may be exact: its loss is at least 0 and nothing more is sure (False). The loss of `min(prediction, bound)` against the
    bound is that (Powell, Censored regression quantiles, 1986).
    """
    given, least = np.asarray(outputs, dtype=np.float64), np.asarray(bounds, dtype=np.float64)
    wide = least if given.ndim == 1 else least[:, None]
    below: Mask = np.all(given <= wide, axis=tuple(range(1, given.ndim)), keepdims=False)
    return rows(np.minimum(given, wide), least), below
