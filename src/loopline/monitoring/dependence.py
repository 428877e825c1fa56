"""How blocks depend on each other: a season that comes again, and what one block carries over to the next.

A monitor bets that the mean of a block given the past is at most what is allowed. Where Mondays are bad, or a bad day is followed by
another, that is not so on Mondays and after bad days, though nothing is wrong. Both are learnt from the reference: the season is taken off,
and of what is left a block is held only against what its predecessor does not explain.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.evidence.student import quantile
from loopline.values import MICROSECOND, duration, micros

Floats = npt.NDArray[np.float64]

STICKIEST = 0.9
_SEASONS = (timedelta(days=1), timedelta(days=7))
_MOST_PLACES = 48
_LEAST_CYCLES = 4
_SURE = 0.01
_BEYOND_CHANCE = 2.0
_NOTHING = 1e-20  # of the squares: what differs by rounding alone


class Dependence(msgspec.Struct, frozen=True):
    """`season` says how far each place of the cycle lies above the mean (empty: there is none), `carry` which share of what a block lies
    above or below the usual the next one keeps.
    """

    season: tuple[float, ...] = ()
    carry: float = 0.0


INDEPENDENT = Dependence()


def places_in_cycle(block: str) -> int:
    """How many blocks make a cycle: of a day, or of a week where blocks are days; 0 where blocks are as long as that, or too many."""
    length = duration(block)
    for cycle in _SEASONS:
        count = cycle // length
        if 1 < count <= _MOST_PLACES and cycle % length == timedelta(0):
            return count
    return 0


def place_of(start: datetime, block: str, cycle: int) -> int:
    """The place in the cycle of the block that begins at `start`."""
    return int(micros(start) // (duration(block) // MICROSECOND)) % cycle


def dependence_of(figures: Sequence[float], starts: Sequence[datetime] | None = None, block: str = "1d") -> Dependence:
    """What blocks in the order of time, with these figures, show of a season and of what is carried over.

    A season is taken for one where four cycles are there and the places differ by more than chance gives one time in a hundred (Fisher's
    F); without `starts` none is looked for. What is carried over is the autocorrelation of what is left, where that exceeds twice what
    chance gives, mended for its bias in so few blocks (Kendall, Note on bias in the estimation of autocorrelation, 1954).
    """
    x = np.asarray(figures, dtype=np.float64)
    season = () if starts is None else _season(x, starts, block)
    left = x - of_season(season, starts, block) if season and starts is not None else x
    r = autocorrelation(left, _BEYOND_CHANCE)
    return Dependence(season, min(r + (1 + 3 * r) / len(x), STICKIEST) if r else 0.0)


def of_season(season: Sequence[float], starts: Sequence[datetime], block: str) -> Floats:
    """What the season adds to blocks that begin at `starts` (blocks,)."""
    if not season:
        return np.zeros(len(starts))
    return np.array([season[place_of(start, block, len(season))] for start in starts])


def unexplained(figures: Floats, carry: float) -> Floats:
    """What each figure lies above the mean, less what its predecessor explains; shape (blocks - 1,)."""
    centred = figures - figures.mean()
    left: Floats = centred[1:] - carry * centred[:-1]
    return left


def autocorrelation(figures: Floats, beyond: float = 1.0) -> float:
    """The autocorrelation of lag 1, in [0, 0.9]; 0 where it lies within `beyond` times what chance gives so few figures."""
    centred = figures - figures.mean()
    total = float((centred**2).sum())
    if total <= _NOTHING * float((figures**2).sum()):
        return 0.0
    r = float((centred[1:] * centred[:-1]).sum()) / total
    return min(r, STICKIEST) if r > beyond / math.sqrt(len(figures)) else 0.0


def upper_of(figures: Floats, confidence: float) -> float:
    """An upper confidence bound of the mean of blocks that follow each other: wider where neighbours resemble each other.

    Student's, with the number of blocks divided by (1 + r) / (1 - r) for an autocorrelation r of lag 1, as for the mean of a
    first-order autoregression (Bayley and Hammersley, The effective number of independent observations in an autocorrelated
    time series, 1946).
    """
    r = autocorrelation(figures)
    effective = max(2.0, len(figures) * (1 - r) / (1 + r))
    spread = float(figures.std(ddof=1))
    return float(figures.mean()) + quantile(confidence, effective - 1) * spread / math.sqrt(effective)


def _season(x: Floats, starts: Sequence[datetime], block: str) -> tuple[float, ...]:
    from scipy.special import fdtrc  # noqa: PLC0415 - a quarter of a second, which most commands need not wait for

    cycle = places_in_cycle(block)
    if not cycle or len(x) < _LEAST_CYCLES * cycle:
        return ()
    place = np.array([place_of(start, block, cycle) for start in starts])
    rows = np.bincount(place, minlength=cycle)
    if rows.min() < _LEAST_CYCLES - 1:
        return ()
    means = np.bincount(place, weights=x, minlength=cycle) / rows
    between = float((rows * (means - x.mean()) ** 2).sum()) / (cycle - 1)
    within = float(((x - means[place]) ** 2).sum()) / max(len(x) - cycle, 1)
    if within <= 0 or float(fdtrc(cycle - 1, len(x) - cycle, between / within)) >= _SURE:
        return ()
    return tuple((means - means.mean()).tolist())
