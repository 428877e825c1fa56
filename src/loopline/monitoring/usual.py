"""What is usual for a single series of numbers, learnt from its values as they come: how values are spread, and what each carries over to the next.

A value is held against a sample of the values before it, at most `SAMPLE` of them. Where it goes into a full sample one of all of them, itself among them,
is dropped by pure chance. Which value that is says nothing of the order in which they came, so the places of values in their samples are independent and
each as probable as any other, where the values are independent and of one law, whatever that is. Equal values are told apart by chance.

Where a value carries something over to the next, what is held against each other is what the values before them do not explain.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.values import derive_seed

Floats = npt.NDArray[np.float64]

SAMPLE = 200
LEAST = 30
"""So many values show what one carries over to the next, before any is held against others."""

_BEYOND_CHANCE = 1.5
_UNIT_ROOT = 20.7
"""A walk has a smaller `n (1 - r)` in 99 of 100 cases (Dickey and Fuller, Distribution of the estimators for autoregressive time series with a unit
root, 1979)."""

_LONG = 60
"""So many values would show that they do not walk, unless they nearly do."""

_MOST_EARLIER = 100
_CHANCES = 2**32


class Sums(msgspec.Struct, frozen=True):
    """The moments of values in their order, measured from the first: `lagged` sums the products of neighbours, `steps` the squares of their differences."""

    count: int = 0
    first: float = 0.0
    last: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    lagged: float = 0.0
    steps: float = 0.0

    def plus(self, value: float) -> "Sums":
        """The same with one more value."""
        if not self.count:
            return Sums(1, value, value)
        x, before = value - self.first, self.last - self.first
        return Sums(
            self.count + 1,
            self.first,
            value,
            self.total + x,
            self.squares + x * x,
            self.lagged + x * before,
            self.steps + (x - before) ** 2,
        )

    def plus_all(self, values: Sequence[float]) -> "Sums":
        """The same with more values."""
        found = self
        for value in values:
            found = found.plus(value)
        return found

    @property
    def mean(self) -> float:
        """Their mean; 0 without any."""
        return self.first + self.total / self.count if self.count else 0.0

    @property
    def variance(self) -> float:
        """Their variance; 0 for fewer than two."""
        return max(self._centred, 0.0) / (self.count - 1) if self.count > 1 else 0.0

    @property
    def step(self) -> float:
        """The mean of the differences of neighbours."""
        return (self.last - self.first) / (self.count - 1) if self.count > 1 else 0.0

    @property
    def step_variance(self) -> float:
        """The variance of the differences of neighbours."""
        steps = self.count - 1
        return max(self.steps - steps * self.step**2, 0.0) / (steps - 1) if steps > 1 else 0.0

    @property
    def autocorrelation(self) -> float | None:
        """That of lag 1; None where the values do not differ."""
        if self.count < 3 or self._centred <= 1e-20 * self.squares:  # noqa: PLR2004 - two pairs
            return None
        mean, last = self.total / self.count, self.last - self.first
        products = self.lagged - mean * (2 * self.total - last) + (self.count - 1) * mean**2
        return products / self._centred

    @property
    def _centred(self) -> float:
        return self.squares - self.total**2 / self.count if self.count else 0.0


class Earlier(msgspec.Struct, frozen=True):
    """What the values before the last move have shown: their autocorrelation and how many they were, at most 100, and whether they walked."""

    count: int = 0
    autocorrelation: float = 0.0
    walks: bool | None = None

    def with_more(self, sums: Sums) -> "Earlier":
        """With what those values show; the newer ones count for more once there are many."""
        count, r = _both(sums, self)
        if sums.autocorrelation is None:
            return self
        return Earlier(min(count, _MOST_EARLIER), r, walks(sums, self))


def carry_of(sums: Sums, earlier: Earlier) -> float:
    """Which share of a value the next one keeps, in [0, 1]: 0 where no more than chance is seen, 1 where the values may as well be a walk.

    Rather too much than too little: one standard error on top of what is seen.
    """
    count, r = _both(sums, earlier)
    if not count or r <= _BEYOND_CHANCE / math.sqrt(count):
        return 0.0
    return 1.0 if walks(sums, earlier) else min(r + math.sqrt(max(1 - r * r, 0.0) / count), 1.0)


def walks(sums: Sums, earlier: Earlier) -> bool:
    """Whether the values may as well be a walk: the newest stretch of values that is long enough says, or shorter ones that surely are none."""
    r = sums.autocorrelation
    if r is not None and sums.count * (1 - r) > _UNIT_ROOT:
        return False
    return sums.count >= _LONG or earlier.walks is None or earlier.walks


def _both(sums: Sums, earlier: Earlier) -> tuple[int, float]:
    """How many values there are, and their autocorrelation, each stretch's mended for its bias (Kendall, Note on bias in the estimation of
    autocorrelation, 1954).
    """
    own = sums.autocorrelation
    if own is None:
        return earlier.count, earlier.autocorrelation
    mended = min(own + (1 + 3 * own) / sums.count, 1.0)
    count = sums.count + earlier.count
    return count, (sums.count * mended + earlier.count * earlier.autocorrelation) / count


class Sample:
    """The values that others are held against, each with the one before it."""

    def __init__(self, pairs: Sequence[tuple[float, float]]) -> None:
        self._before, self._values = np.empty(SAMPLE + 1), np.empty(SAMPLE + 1)
        self._count = len(pairs)
        for place, (before, value) in enumerate(pairs):
            self._before[place], self._values[place] = before, value

    @property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """All of it, as it was given."""
        shown = zip(self._before[: self._count].tolist(), self._values[: self._count].tolist(), strict=True)
        return tuple(shown)

    def __len__(self) -> int:
        return self._count

    def position(self, before: float, value: float, carry: float, chance: float) -> int:
        """How many of the sample lie below the value; `chance` in [0, 1) says where it stands among its equals."""
        left = self._values[: self._count] - carry * self._before[: self._count]
        own = value - carry * before
        below, equal = int((left < own).sum()), int((left == own).sum())
        return below + int(chance * (equal + 1))

    def add(self, before: float, value: float, chance: float) -> None:
        """Take the value in; from a full sample the one that `chance` in [0, 1) says is dropped, maybe this one."""
        self._before[self._count], self._values[self._count] = before, value
        if self._count < SAMPLE:
            self._count += 1
            return
        dropped = int(chance * (SAMPLE + 1))
        self._before[dropped], self._values[dropped] = before, value


def chances(seed: int, place: int) -> tuple[float, float]:
    """What chance says of the value at that place, about its equals and about what is dropped, both in [0, 1)."""
    return derive_seed(seed, "equals", place) / _CHANCES, derive_seed(seed, "dropped", place) / _CHANCES
