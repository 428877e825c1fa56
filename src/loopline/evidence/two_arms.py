"""Is one of two arms worse than the other? A test by betting that stays valid however often one looks.

Rows are shared out to a trial arm and a standing arm by chance, and arrive in units (the rows of one request) in the order of time.
Each row has a value in [0, 1], less being better: whether it failed, whether it was slow, its loss. Units are gathered into a block
until both arms are in it. A block's difference `x`, the mean of the trial's rows minus that of the standing's, is in [-1, 1] and, as
chance decided which rows went where, has the mean difference of the arms as its mean given the past, whatever the level of both does
in the meantime: what hurts both at once cancels.

Two bets are laid on every block, each at several stakes, of which the evidence is the mean:

- *harm*, against "the trial is at most `tolerance` worse": `L = 1 + s (x - tolerance)`. The bettors start at every block, the t-th
  with a capital of `1 / (t (t + 1))` of the whole, and what is not yet laid out waits: `E_t = M_t + 1 / (t + 1)` with
  `M_t = L_t (M_{t-1} + 1 / (t (t + 1)))`. A harm that begins late is so found about as fast as one from the start.
- *soundness*, against "the trial is at least `tolerance` worse": `L = 1 + s (tolerance - x)`, from the first block on.

**Guarantee.** While its null is true of every block given the past, each evidence is a nonnegative supermartingale that starts at 1,
so that by Ville's inequality the probability that it ever reaches `1 / alpha` is at most `alpha`, at whatever times one looks.

Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, 2023 (arXiv 2010.09686), for L and the stakes;
Shin, Ramdas and Rinaldo, E-detectors, 2022 (arXiv 2203.03532), for bettors that start at every time.
"""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evidence.e_sr import STAKES

Floats = npt.NDArray[np.float64]

_SHARES = np.array(STAKES)
_HIGHEST = 600.0
"""Evidence is kept below e to this power, which only lessens it, so that it stays a number."""


class Gathered(msgspec.Struct, frozen=True):
    """Rows of either arm and the sums of their values."""

    trial: int = 0
    trial_sum: float = 0.0
    standing: int = 0
    standing_sum: float = 0.0

    def __add__(self, other: "Gathered") -> "Gathered":
        return Gathered(
            self.trial + other.trial,
            self.trial_sum + other.trial_sum,
            self.standing + other.standing,
            self.standing_sum + other.standing_sum,
        )

    @property
    def difference(self) -> float | None:
        """The mean of the trial's rows minus that of the standing's; None where one has none."""
        if not (self.trial and self.standing):
            return None
        return self.trial_sum / self.trial - self.standing_sum / self.standing


class TwoArms(msgspec.Struct, frozen=True):
    """The state of the test, all of it finite numbers that JSON keeps. A fresh one has seen nothing.

    `harm` is `log M` for each stake (empty before the first block), `sound` the log capital. `under_way` is the block that is not
    complete, `total` all that was seen.
    """

    blocks: int = 0
    harm: tuple[float, ...] = ()
    sound: tuple[float, ...] = (0.0,) * len(STAKES)
    under_way: Gathered = Gathered()
    total: Gathered = Gathered()

    @property
    def harm_evidence(self) -> float:
        """The logarithm of the evidence that the trial is worse by more than the tolerance; 0 at the start."""
        if not self.blocks:
            return 0.0
        return float(np.logaddexp(_log_mean(self.harm), -math.log(self.blocks + 1)))

    @property
    def sound_evidence(self) -> float:
        """The logarithm of the evidence that the trial is not worse by the tolerance; 0 at the start."""
        return _log_mean(self.sound)


def advance(
    state: TwoArms, trial: npt.ArrayLike, values: npt.ArrayLike, units: npt.ArrayLike, tolerance: float
) -> TwoArms:
    """The state after more rows, in order.

    `trial` (n,) says of each row whether it is the trial arm's, `values` (n,) are in [0, 1], `units` (n,) are equal for
    neighbouring rows that belong together; a unit does not go on in the next call. Raises `InvalidInput` for other values.
    """
    arm, given = np.asarray(trial, dtype=np.bool_), np.asarray(values, dtype=np.float64)
    if not 0 < tolerance < 1 or not np.all((given >= 0) & (given <= 1)):
        raise InvalidInput(
            "evidence.out_of_range",
            "values must lie in [0, 1], without NaN, and the tolerance in (0, 1)",
            remedy="Scale values and tolerance by the same bound.",
        )
    gathered, differences, total = state.under_way, [], state.total
    for unit in _by_unit(arm, given, np.asarray(units)):
        gathered, total = gathered + unit, total + unit
        difference = gathered.difference
        if difference is not None:
            differences.append(difference)
            gathered = Gathered()
    return _bet(msgspec.structs.replace(state, under_way=gathered, total=total), np.array(differences), tolerance)


def _by_unit(arm: npt.NDArray[np.bool_], values: Floats, units: npt.NDArray[np.generic]) -> list[Gathered]:
    if not len(values):
        return []
    starts = np.flatnonzero(np.concatenate([[True], units[1:] != units[:-1]]))
    sums = [
        np.add.reduceat(column, starts)
        for column in (
            arm.astype(np.int64),
            np.where(arm, values, 0),
            (~arm).astype(np.int64),
            np.where(arm, 0, values),
        )
    ]
    return [Gathered(*row) for row in zip(*(column.tolist() for column in sums), strict=True)]


def _bet(state: TwoArms, differences: Floats, tolerance: float) -> TwoArms:
    if not len(differences):
        return state
    gains = np.log1p(_SHARES / (1 - tolerance) * (tolerance - differences[:, None])).sum(axis=0)
    sound = np.minimum(np.array(state.sound) + gains, _HIGHEST)
    losses = np.log1p(_SHARES / (1 + tolerance) * (differences[:, None] - tolerance))
    laid_out = np.array(state.harm) if state.blocks else np.full(len(STAKES), -np.inf)
    for place, loss in enumerate(losses, state.blocks + 1):
        laid_out = np.minimum(np.logaddexp(laid_out, -math.log(place * (place + 1))) + loss, _HIGHEST)
    return msgspec.structs.replace(
        state,
        blocks=state.blocks + len(differences),
        harm=tuple(laid_out.tolist()),
        sound=tuple(sound.tolist()),
    )


def _log_mean(logs: tuple[float, ...]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(one - top) for one in logs) / len(logs))
