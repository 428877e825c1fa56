"""Whether retraining pays: what it is expected to save over a horizon, learnt from what earlier trainings brought, against its cost.

Loss falls about linearly in the logarithm of the rows (learning curves; Hestness and others, arXiv 1712.00409, over the ranges
between two trainings), so what a training brings is `slope x log(growth)`. The slope is learnt from the loop's own trainings: each was
compared with the champion of its time on the same unseen rows. That a forecast of the gain decides, against a price, follows Mahadevan
and Mathioudakis (Cost-aware retraining for machine learning, 2024) and Regol and others (When to retrain a machine learning
model, arXiv 2505.14903).
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from loopline.incidents.prices import Prices
from loopline.values import duration

FIRST_GROWTH = 2.0
"""Before any training was compared with a champion, one is made when the rows have doubled: what it brings is what later ones rest on."""
_LEAST_ERROR = 1e-6
_DAY = 86_400.0


class Tried(msgspec.Struct, frozen=True):
    """What one training brought: the champion's loss minus its own on the same rows, with its standard error, when the rows had
    grown `growth` times.
    """

    growth: float
    gain: float
    error: float


class Forecast(msgspec.Struct, frozen=True):
    """The sums. `gain` is the loss per prediction that a training now is expected to take away, with its standard error; `rise` what
    the champion loses beyond its promise while harm is open, which a training is expected to take away too; `traffic` predictions a day.
    """

    horizon: str
    growth: float
    learnt_from: int
    gain: float
    error: float
    rise: float
    traffic: float
    prices: Prices

    @property
    def days(self) -> float:
        """The horizon."""
        return duration(self.horizon).total_seconds() / _DAY

    @property
    def saving(self) -> float:
        """What a training is expected to save over the horizon, in the unit of the prices."""
        return self.prices.loss * max(self.gain, self.rise) * self.traffic * self.days

    @property
    def pays(self) -> bool:
        """Whether it saves more than it costs; where nothing is known yet, whether it is time to learn it."""
        return self.saving > self.prices.retrain or (not self.learnt_from and self.growth >= FIRST_GROWTH)

    @property
    def sentence(self) -> str:
        """The sums in words."""
        grown = f"{self.growth:.2f} times the rows"
        if self.saving <= self.prices.retrain and not self.learnt_from:
            return f"what retraining brings is not known yet, and there are {grown} of the last training: it is tried"
        rests = (
            f"the loss risen {self.rise:.4f} beyond the promise"
            if self.rise > self.gain
            else f"{self.gain:.4f} ± {self.error:.4f} less loss at {grown}, as {self.learnt_from} earlier trainings tell"
        )
        than = "more" if self.saving > self.prices.retrain else "not more"
        return (
            f"retraining is expected to save {self.saving:.4g} over {self.horizon}, {than} than its cost of {self.prices.retrain:.4g}: "
            f"{rests}, x {self.traffic:.4g} predictions a day x {self.days:g} days x {self.prices.loss:g}"
        )

    def sums(self) -> dict[str, Any]:
        """As it is kept in the ledger."""
        told: dict[str, Any] = msgspec.to_builtins(self)
        return {**told, "saving": self.saving}


def expected_gain(tried: Sequence[Tried], growth: float) -> tuple[float, float, int]:
    """The gain that is expected of a training at this growth, its standard error, and how many trainings tell; never below 0.

    By weighted least squares of the gains on the logarithm of their growth, through the origin: the same rows bring nothing. Trainings
    whose error is not known, or that had no more rows, tell nothing.
    """
    telling = [one for one in tried if math.isfinite(one.error) and one.growth > 1]
    if not telling or growth <= 1:
        return 0.0, 0.0, len(telling)
    weighed = [(math.log(one.growth), one.gain, max(one.error, _LEAST_ERROR) ** -2) for one in telling]
    scale = sum(weight * x * x for x, _, weight in weighed)
    slope = sum(weight * x * gain for x, gain, weight in weighed) / scale
    return max(slope, 0.0) * math.log(growth), scale**-0.5 * math.log(growth), len(telling)
