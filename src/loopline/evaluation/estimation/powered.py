"""Few labels and many predictions: what is expected of all rows, mended by what a random few show.

Where labels are dear (a person looks at some cases, a judge is asked about a few answers) their sample is too small to tell much, and an
estimate without labels cannot be trusted alone. Together they are both: the estimate of all rows, plus the mean of what it misses on
the labelled ones, each weighing one over the probability with which it was chosen. That is right whatever the estimate is, and as
precise as the estimate is good.

Angelopoulos, Bates, Fannjiang, Jordan and Zrnic, Prediction-powered inference, Science 2023; prediction-powered risk monitoring, 2026
(arXiv 2602.02229), for feeding it to a monitor; Horvitz and Thompson, 1952, for the weights.
"""

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]

LEAST_PROPENSITY = 1e-3
LEAST_ASKED = 10


class PoweredLoss(msgspec.Struct, frozen=True):
    """The mean loss of `rows` rows, of which `labelled` have one, and its standard error over such samples of labels.

    `trust` is the share of the estimate that was used: 1 uses all of it, 0 the labels alone.
    """

    value: float
    error: float
    rows: int
    labelled: int
    trust: float


def powered_loss(
    expected: npt.ArrayLike, loss: npt.ArrayLike, propensity: npt.ArrayLike, trust: float = 1.0
) -> PoweredLoss:
    """The mean loss of all rows.

    All of shape (rows,): the loss that is `expected` of a row, the `loss` that its label shows (NaN where it has none), and the
    probability in [0.001, 1] with which it was chosen to be labelled, which must not depend on what the label is. `trust` must be
    fixed before the labels of these rows are known (see `trust_of`). Raises `InvalidInput` for other shapes and values.
    """
    f, x, p = (np.asarray(one, dtype=np.float64) for one in (expected, loss, propensity))
    _check(f, x, p)
    known = ~np.isnan(x)
    rows = powered_rows(trust * f, x, p)
    spread = float(rows.std(ddof=1)) if len(rows) > 1 else float("inf")
    return PoweredLoss(float(rows.mean()), spread / np.sqrt(len(rows)), len(rows), int(known.sum()), trust)


def powered_rows(guess: npt.ArrayLike, loss: npt.ArrayLike, propensity: npt.ArrayLike) -> Floats:
    """What each row stands for (rows,): its `guess`, and what that misses of the `loss`, one over the `propensity` as often as it is known.

    Arrays as for `powered_loss`. Over the chance of which labels were asked for, the mean of each is the row's loss, whatever the guess is.
    """
    g, x, p = (np.asarray(one, dtype=np.float64) for one in (guess, loss, propensity))
    _check(g, x, p)
    known = ~np.isnan(x)
    rows: Floats = g + np.where(known, (np.where(known, x, 0.0) - g) / p, 0.0)
    return rows


def trust_of(expected: npt.ArrayLike, loss: npt.ArrayLike, propensity: npt.ArrayLike) -> float:
    """The trust that makes the error least on rows seen before, in [0, 1]: how far what is expected goes along with what is shown.

    Arrays as for `powered_loss`; 0 below ten labelled rows. Angelopoulos, Duchi and Zrnic, PPI++, 2023.
    """
    f, x, p = (np.asarray(one, dtype=np.float64) for one in (expected, loss, propensity))
    _check(f, x, p)
    known = ~np.isnan(x)
    if known.sum() < LEAST_ASKED:
        return 0.0
    shown = np.where(known, np.where(known, x, 0.0) / p, 0.0)
    chosen = np.where(known, f / p, 0.0) - f
    variance = float(chosen.var())
    if variance <= 0:
        return 0.0
    return float(np.clip(np.cov(shown, chosen, bias=True)[0, 1] / variance, 0.0, 1.0))


def _check(f: Floats, x: Floats, p: Floats) -> None:
    if f.ndim != 1 or not (f.shape == x.shape == p.shape) or not len(f):
        raise InvalidInput(
            "estimation.powered_shapes",
            f"expected losses of shape {f.shape}, losses of {x.shape} and propensities of {p.shape} do not go together",
            remedy="Give one of each for every row, and at least one row.",
        )
    if np.isnan(f).any() or not np.all((p >= LEAST_PROPENSITY) & (p <= 1)):
        raise InvalidInput(
            "estimation.propensity",
            "each row needs an expected loss, and a propensity from 0.001 to 1",
            remedy="Choose rows to label with a known probability above 0.001 for each, and log it.",
        )
