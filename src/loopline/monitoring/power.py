"""The power of a monitor: how small a harm it would see, and how soon. What a budget of false pages costs."""

import math
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.evidence.e_sr import STAKES, log_threshold
from loopline.monitoring.risk import Reference, Risk, bet
from loopline.values import derive_seed, duration

_PATHS = 400
_HALVINGS = 12
_LOOKED_FOR = 0.8


class Power(msgspec.Struct, frozen=True):
    """A rise of the excess by at least `rise` above the reference's mean is seen within `within` in four of five cases.

    `rise` is in the unit of the loss; None if not even the largest that the bet counts would be.
    """

    within: timedelta
    rise: float | None


def power(
    risk: Risk, reference: Reference, within: Sequence[str | timedelta] = ("7d", "30d"), seed: int = 0
) -> list[Power]:
    """The smallest rise that would be seen within each span, where blocks spread as in the reference.

    By simulation of normal block means that do not depend on each other, from a fresh monitor; the same seed gives the
    same answer.
    """
    return [Power(duration(span), _smallest(risk, reference, duration(span), seed)) for span in within]


def _smallest(risk: Risk, reference: Reference, span: timedelta, seed: int) -> float | None:
    blocks = int(span / duration(risk.block))
    rng = np.random.default_rng(derive_seed(seed, "power", blocks))
    noise = rng.normal(0, reference.spread, (_PATHS, blocks))
    low, high = 0.0, bet(risk, reference).high - reference.mean
    shape = np.full(blocks, 1 - reference.carry)  # of a rise, what the block before does not explain
    shape[:1] = 1.0
    if _seen(risk, reference, noise + high * shape) < _LOOKED_FOR:
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _seen(risk, reference, noise + middle * shape) >= _LOOKED_FOR else (middle, high)
    return high


def _seen(risk: Risk, reference: Reference, rises: npt.NDArray[np.float64]) -> float:
    """The share of paths that raise an alarm, all moved at once."""
    terms = bet(risk, reference)
    clipped = np.clip(rises + reference.mean, terms.low, terms.high)
    observations = (clipped - terms.low) / (terms.high - terms.low)
    shares = np.array(STAKES)[:, None]
    heights = np.zeros((len(STAKES), len(rises)))
    alarmed = np.zeros(len(rises), dtype=np.bool_)
    for x in observations.T:
        heights = np.logaddexp(0, np.log1p(shares * (x - terms.mean) / terms.mean) + heights)
        evidence = np.logaddexp.reduce(heights, axis=0) - math.log(len(STAKES))
        alarmed |= evidence >= log_threshold(risk.threshold)
    return float(alarmed.mean())
