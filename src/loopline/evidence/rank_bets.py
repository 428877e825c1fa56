"""Bets on where a value stands among earlier ones: that it, and those after it, lie higher or lower, or are spread wider or narrower.

A value that has `others` beside it, of which `position` lie below it, stands at any of the `others + 1` places with the same probability where all of
them come from one law, whatever that law is. The normal score of a place is then a draw from a standard normal. A bet pays what the density of another
normal is of the standard one, `exp(d z - d^2 / 2)` for a mean of d, in the mean over the place's share of probability. So each pays 1 in the mean over
the places, exactly.

Vovk, Nouretdinov and Gammerman, Testing exchangeability on-line, ICML 2003, for ranks as the ground of bets.
"""

from functools import lru_cache

import numpy as np

SHIFTS = (0.35, 0.7, 1.4, 2.8)
"""Means that are bet on, upwards and downwards, in standard deviations: from patient with small moves to quick on large ones."""

SCALES = (0.4, 0.65, 1.6, 2.8)
"""Standard deviations that are bet on."""

HIGHER, LOWER, NARROWER, WIDER = "higher", "lower", "narrower", "wider"
BETS = (*(HIGHER for _ in SHIFTS), *(LOWER for _ in SHIFTS), *(NARROWER if scale < 1 else WIDER for scale in SCALES))
"""What each bet is on, in the order of what they pay."""


@lru_cache(maxsize=65_536)
def log_payoffs(position: int, others: int) -> tuple[float, ...]:
    """What each of `BETS` pays where `position` of `others` lie below the value; logarithms, minus infinity at the least."""
    from scipy.special import ndtr  # noqa: PLC0415 - a quarter of a second, which most commands need not wait for

    places = others + 1
    upwards, downwards = _cell(position, places), _cell(others - position, places)
    outer = _cell(min(position, others - position), places)  # symmetric: the lower tail loses no digits
    pays = [
        *(places * (ndtr(high - shift) - ndtr(low - shift)) for low, high in (upwards, downwards) for shift in SHIFTS),
        *(places * (ndtr(outer[1] / scale) - ndtr(outer[0] / scale)) for scale in SCALES),
    ]
    with np.errstate(divide="ignore"):
        return tuple(np.log(pays).tolist())


def score(position: int, others: int) -> float:
    """The normal score of the middle of the place."""
    from scipy.special import ndtri  # noqa: PLC0415 - as above

    return float(ndtri((position + 0.5) / (others + 1)))


def _cell(position: int, places: int) -> tuple[float, float]:
    from scipy.special import ndtri  # noqa: PLC0415 - as above

    return float(ndtri(position / places)), float(ndtri((position + 1) / places))
