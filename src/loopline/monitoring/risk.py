"""The risk a team declares, the reference it is measured from, and how a block's excess becomes a bet."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.losses import named
from loopline.monitoring.dependence import dependence_of, of_season, unexplained, upper_of
from loopline.values import MICROSECOND, duration, from_micros, micros

YEAR = timedelta(days=365.25)
MIN_REFERENCE_BLOCKS = 5
COST = "cost"
"""What decisions cost, as a risk to watch: not a loss of outputs, but of what was decided on them."""

RATE = "rate:"
"""So begins the name of what is counted of predictions, labelled or not, in the place of a loss."""

CHANGE = "change:"
"""So begins the name of a figure that is held to nothing, but told of where it moves; and that of its monitor."""

_NEAR = 1.0  # spreads below the mean where a bettor may lose all; and so much further, over the number of blocks
_UNSURE = 8.0


class Risk(msgspec.Struct, frozen=True):
    """Harm as a person declares it: the mean loss of a block, above its baseline, has risen by more than `tolerance`.

    `loss` names a loss of `evaluation.losses`, `tolerance` is in its unit, `block` is a duration. `baseline` is what the
    loss is measured against, on the same rows: `"base_rate"` (always predicting the block's own rate, or the constant that
    is best for its labels), `"scores"` (other
    scores given for each row, such as the previous champion's) or `"none"`. Blocks of fewer than `min_rows` labelled
    rows are merged into the next. Raises `InvalidInput` for values that declare nothing.
    """

    loss: str = "log_loss"
    tolerance: float = 0.01
    block: str = "1d"
    false_pages_per_year: float = 1.0
    baseline: Literal["base_rate", "scores", "none"] = "base_rate"
    min_rows: int = 200

    def __post_init__(self) -> None:
        if self.loss != COST and not self.loss.startswith((RATE, CHANGE)):
            named(self.loss)
        positive = self.tolerance > 0 and self.min_rows > 0 and duration(self.block) > timedelta(0)
        if not positive or not 0 < self.false_pages_per_year <= self.blocks_per_year / 2:
            raise InvalidInput(
                "monitor.risk",
                f"{self} declares no risk to watch",
                remedy="Give a positive tolerance, block and min_rows, and at most one false page in two blocks.",
            )

    @property
    def blocks_per_year(self) -> float:
        """Blocks in a year of 365.25 days."""
        return YEAR / duration(self.block)

    @property
    def threshold(self) -> float:
        """What the evidence must reach, in blocks: the mean time between false pages is at least that."""
        return self.blocks_per_year / self.false_pages_per_year

    def boundary(self, at: datetime) -> datetime:
        """The first time from `at` on where a block ends and the next begins: whole multiples of its length from 1970, UTC."""
        length = duration(self.block) // MICROSECOND
        return from_micros(-(-micros(at) // length) * length)


def require_cost(risk: Risk | None) -> None:
    """Raise `InvalidInput` unless the risk is of what decisions cost, above nothing or above the cheapest action in hindsight."""
    if risk is not None and (risk.loss != COST or risk.baseline == "scores"):
        raise InvalidInput(
            "monitor.not_a_cost",
            f"watch_decision watches what decisions cost, not {risk.loss} against {risk.baseline}",
            remedy='Write watch_decision=ll.Risk("cost", tolerance=..., baseline="none") or "base_rate".',
        )


class Reference(msgspec.Struct, frozen=True):
    """What the first champion promised, on rows it had not seen: the mean excess of its blocks.

    `upper` is an upper confidence bound of that mean, `spread` the standard deviation of what season and predecessor do not explain
    of a block. It holds across retrains, or a slow decline would reset it each time; a person may set a new one. `season` and `carry`
    are as in `Dependence`. Where no excess can lie out of `bounds`, these are bet within. `constant` is the output whose loss on the same rows is
    taken off, where that is one and the same for good. `lift` is by how much the mean of a block rises where what lies further than `reach` below it
    is clipped, in spreads; None where no blocks have shown it.
    """

    mean: float
    upper: float
    spread: float
    blocks: int
    season: tuple[float, ...] = ()
    carry: float = 0.0
    bounds: tuple[float, float] | None = None
    constant: float | None = None
    lift: float | None = None

    @property
    def reach(self) -> float:
        """How far below the mean a block is clipped, in spreads: further where few blocks have shown what a spread is."""
        return _NEAR + _UNSURE / max(self.blocks, 1)

    def lifted(self, left: npt.NDArray[np.float64]) -> "Reference":
        """The same with its lift, from what season and predecessor do not explain of its blocks; that of a normal law at the least."""
        below, centred = self.reach * self.spread, left - left.mean()
        shown = float(np.maximum(centred, -below).mean()) / self.spread if self.spread > 0 else 0.0
        return msgspec.structs.replace(self, lift=max(shown, _normal_lift(self.reach)))

    def above(self, constant: float | None) -> "Reference":
        """The same, measured above what always saying `constant` loses."""
        return msgspec.structs.replace(self, constant=constant)


def reference_of(
    excesses: Sequence[float],
    confidence: float = 0.95,
    *,
    starts: Sequence[datetime] | None = None,
    block: str = "1d",
) -> Reference:
    """The reference from the excess of each block, in the order of time, by Student's t over blocks.

    With the `starts` of blocks a season is looked for, too. Raises `InvalidInput` for fewer than 5 blocks or a figure that is not
    finite.
    """
    if len(excesses) < MIN_REFERENCE_BLOCKS or not all(math.isfinite(excess) for excess in excesses):
        raise InvalidInput(
            "monitor.reference",
            f"{len(excesses)} blocks make no reference",
            remedy=f"Give the finite excess of at least {MIN_REFERENCE_BLOCKS} blocks, or use shorter blocks.",
        )
    found = dependence_of(excesses, starts, block)
    left = np.asarray(excesses, dtype=np.float64)
    if starts is not None:
        left = left - of_season(found.season, starts, block)
    alone = unexplained(left, found.carry) if found.carry else left
    upper, spread = upper_of(left, confidence), float(alone.std(ddof=1))
    return Reference(float(left.mean()), upper, spread, len(excesses), found.season, found.carry).lifted(alone)


def _normal_lift(reach: float) -> float:
    """`E max(X, -reach)` of a standard normal X."""
    density = math.exp(-reach * reach / 2) / math.sqrt(2 * math.pi)
    return density - reach * math.erfc(reach / math.sqrt(2)) / 2


class Bet(msgspec.Struct, frozen=True):
    """The line from an excess to an observation in [0, 1], and `mean`, the most that its mean is while all is well."""

    low: float
    high: float
    mean: float

    def observation(self, excess: float) -> float:
        """The excess clipped into [low, high] and scaled to [0, 1]."""
        return (min(max(excess, self.low), self.high) - self.low) / (self.high - self.low)


def bet(risk: Risk, reference: Reference, also: float = 0.0) -> Bet:
    """How the risk is bet on from this reference.

    The lower clip limits the stake: a bettor may risk all on the lowest value, no more. So it is near, the reference's `reach` below its mean and a
    tolerance at least, and by as much as clipping there lifts the mean, the bet is against more. Where nothing has shown that lift, it lies
    three times the spread of blocks and a tolerance below, two tolerances at least. The
    upper clip is far, ten times that: clipping away high values only lowers the mean, and large
    harm is to show within a few blocks. `also` is a spread that a block is known to have in addition, before anything is seen of it.
    """
    if reference.bounds is not None:
        low, high = reference.bounds
        return Bet(low, high, (reference.upper + risk.tolerance - low) / (high - low))
    spread, allowed = math.hypot(reference.spread, also), reference.upper + risk.tolerance
    far = max(2 * risk.tolerance, 3 * spread + risk.tolerance)
    low, high = reference.mean - far, reference.mean + 10 * far
    if reference.lift is not None:
        low = reference.mean - max(reference.reach * spread, risk.tolerance)
        allowed += reference.lift * spread
    return Bet(low, high, (allowed - low) / (high - low))
