"""Confidence for a bounded mean: by betting, for any law; and a closed form for large samples."""

import math

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]

GRID = 1000
_CAP = 0.75


def betting_sequence(x: npt.ArrayLike, alpha: float = 0.05, grid: int = GRID) -> tuple[Floats, Floats]:
    """Lower and upper confidence bounds of the mean after each observation, all valid at once with 1 - alpha.

    `x` has shape (n,) and values in [0, 1], each with the same mean given the past; both results have shape (n,). For each of
    `grid` + 1 candidate means a bettor plays half a capital on more and half on less; a candidate is out for good once the
    capital reaches 1 / alpha. Stakes follow the variance seen so far and never use the value they are played on. Bounds are
    widened by one step of the grid. Raises `InvalidInput` for values out of [0, 1] or an alpha out of (0, 1).

    Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, 2023 (arXiv 2010.09686), the hedged
    capital process with predictable plug-in stakes.
    """
    values = _checked(x, alpha)
    stakes = _plug_in_stakes(values, alpha, np.arange(1, len(values) + 1))
    return _hedged(values, stakes, alpha, grid)


def betting_interval(x: npt.ArrayLike, alpha: float = 0.05, grid: int = GRID) -> tuple[float, float]:
    """A confidence interval for the mean of a sample of fixed size, with 1 - alpha, for any law on [0, 1].

    As `betting_sequence`, with stakes tuned to the size of the sample; (0, 1) without observations.
    """
    values = _checked(x, alpha)
    if not len(values):
        return 0.0, 1.0
    stakes = _plug_in_stakes(values, alpha, np.full(len(values), len(values)))
    lower, upper = _hedged(values, stakes, alpha, grid)
    return float(lower[-1]), float(upper[-1])


def asymptotic_sequence(x: npt.ArrayLike, alpha: float = 0.05, tuned_for: int = 500) -> tuple[Floats, Floats]:
    """Lower and upper bounds of the mean after each observation, valid at all large times at once, for any finite variance.

    Closed form, tightest near `tuned_for` observations; infinite for the first one. For the early part of a sequence use
    `betting_sequence`, which needs no large sample. Raises `InvalidInput` for an alpha out of (0, 1).

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and asymptotic confidence sequences,
    Annals of Statistics 52, 2024 (arXiv 2103.06476), theorem 2.2.
    """
    values = np.asarray(x, dtype=np.float64)
    check_alpha(alpha)
    t = np.arange(1, len(values) + 1)
    mean = np.cumsum(values) / t
    deviation = np.sqrt(np.maximum(np.cumsum(values**2) / t - mean**2, 0))
    rho = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuned_for
    width = deviation * np.sqrt((t * rho + 1) / (t**2 * rho) * np.log((t * rho + 1) / alpha**2))
    width[:1] = np.inf
    return mean - width, mean + width


def _plug_in_stakes(values: Floats, alpha: float, horizon: npt.NDArray[np.int_]) -> Floats:
    t = np.arange(1, len(values) + 1)
    mean = (0.5 + np.cumsum(values)) / (t + 1)
    variance = (0.25 + np.cumsum((values - mean) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    growth = horizon * np.log1p(horizon) if len(values) and horizon[0] == 1 else horizon
    return np.sqrt(2 * math.log(2 / alpha) / (before * growth))


def _hedged(values: Floats, stakes: Floats, alpha: float, grid: int) -> tuple[Floats, Floats]:
    means = np.linspace(0, 1, grid + 1)
    more, less = np.zeros(grid + 1), np.zeros(grid + 1)
    alive = np.ones(grid + 1, dtype=np.bool_)
    bounds = np.empty((2, len(values)))
    with np.errstate(divide="ignore"):
        limits = _CAP / means, _CAP / (1 - means)
    for t, (value, stake) in enumerate(zip(values, stakes, strict=True)):
        more += np.log1p(np.minimum(stake, limits[0]) * (value - means))
        less += np.log1p(-np.minimum(stake, limits[1]) * (value - means))
        alive &= np.maximum(more, less) < math.log(2 / alpha)
        left = np.flatnonzero(alive)
        bounds[:, t] = (means[left[0]], means[left[-1]]) if len(left) else bounds[:, t - 1]
    return np.maximum(bounds[0] - 1 / grid, 0), np.minimum(bounds[1] + 1 / grid, 1)


def _checked(x: npt.ArrayLike, alpha: float) -> Floats:
    values = np.asarray(x, dtype=np.float64)
    check_alpha(alpha)
    if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
        raise InvalidInput(
            "evidence.out_of_range",
            "the observations must lie in [0, 1], without NaN",
            remedy="Scale them by their bounds.",
        )
    return values


def check_alpha(alpha: float) -> None:
    """Raise `InvalidInput` for an alpha out of (0, 1)."""
    if not 0 < alpha < 1:
        raise InvalidInput("evidence.alpha", f"alpha is a probability in (0, 1), not {alpha}")
