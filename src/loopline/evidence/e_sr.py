"""Watching for a mean that rises, without end: the Shiryaev-Roberts e-detector, by betting.

Each observation x in [0, 1] is bet against at stake `lambda`: `L = 1 + lambda (x - m)`. As long as the mean of x given the past
is at most m, `E[L | past] <= 1`. The detector `M <- L (M + 1)` sums the wealth of bettors that start at every time, so that
it rises soon after a change, whenever that comes. A fixed mixture over several stakes keeps the property and spares the
choice of one.

**Guarantee.** While the mean stays at most m, `M_t - t` is a supermartingale. An alarm is raised where `M >= A`, and M then
starts again at 0; each alarm so takes at least A out of the process, and `A N_t + M_t - t` (N_t alarms by time t) is a
supermartingale that starts at 0. As M is never negative, `E[N_T] <= T / A` for every fixed T and every stopping time of finite
mean, however often one looks and whatever the law of x, dependent or not, as long as the conditional mean stays at most m.

Shin, Ramdas and Rinaldo, E-detectors: a nonparametric framework for sequential change detection, 2022 (arXiv 2203.03532);
Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, 2023 (arXiv 2010.09686), for L.
"""

import math
from collections.abc import Sequence

import msgspec

from loopline.errors import InvalidInput

STAKES = (0.9, 0.5, 0.25, 0.125, 0.0625)
"""Stakes as shares of the largest that cannot ruin, 1 / m: from quick on large changes to patient with small ones."""


class ESR(msgspec.Struct, frozen=True):
    """The state: `log(1 + M)` for each stake, or each bet of another kind, finite at all times, so JSON keeps it exactly. A fresh one has seen nothing."""

    heights: tuple[float, ...] = (0.0,) * len(STAKES)

    @property
    def log_evidence(self) -> float:
        """`log(1 + M)` of the equal mixture over the stakes; 0 at the start."""
        top = max(self.heights)
        return top + math.log(sum(math.exp(height - top) for height in self.heights) / len(self.heights))

    @property
    def log_m(self) -> float:
        """`log M` of the equal mixture; minus infinity at the start."""
        evidence = self.log_evidence
        return evidence + math.log(-math.expm1(-evidence)) if evidence > 0 else -math.inf

    def alarms(self, threshold: float) -> bool:
        """Whether `M >= threshold`."""
        return self.log_evidence >= log_threshold(threshold)


def log_threshold(threshold: float) -> float:
    """What `log_evidence` must reach for an alarm."""
    return math.log1p(threshold)


def update(state: ESR, x: float, m: float) -> ESR:
    """The state after one more observation `x` in [0, 1], where the mean is at most `m` in (0, 1) if all is well.

    Raises `InvalidInput` for other values.
    """
    if not 0 <= x <= 1 or not 0 < m < 1:
        raise InvalidInput(
            "evidence.out_of_range",
            f"an observation of {x} against a mean of {m}",
            remedy="Scale the observation into [0, 1] and the mean into (0, 1).",
        )
    return paid(state, [math.log1p(share * (x - m) / m) for share in STAKES])


def paid(state: ESR, log_payoffs: Sequence[float]) -> ESR:
    """The state after bets of any kind paid so much (logarithms), one for each height, each of which pays at most 1 in the mean if all is well."""
    return ESR(tuple(_log1p_exp(pay + height) for pay, height in zip(log_payoffs, state.heights, strict=True)))


def step(state: ESR, x: float, m: float, threshold: float) -> tuple[ESR, bool]:
    """Update, tell whether that is an alarm, and start again at 0 if so."""
    moved = update(state, x, m)
    return (ESR(), True) if moved.alarms(threshold) else (moved, False)


def _log1p_exp(z: float) -> float:
    return z + math.log1p(math.exp(-z)) if z > 0 else math.log1p(math.exp(z))
