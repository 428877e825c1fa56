"""What loss was due in a block, so that a harder world is not taken for a worse model.

Two accounts explain a loss without blaming the model. The **base-rate account**: always predicting the block's own best constant
loses so much, and the model used to gain so much on that. The **model's own account**: its calibrated scores say
themselves how much they expect to lose on these rows. A change of base rate moves the first, a harmless shift of inputs the
second. Due is the more lenient of both, so that harm is only what neither explains: with L the mean loss,
`L - max(base + skill, own + surprise)`. Its mean is at most that of each part. So where one account still holds, its mean is at
most what that account allows, and the bound on false alarms holds.

An input that is broken also shifts the scores, but it excuses nothing: in a block with a data fault the own account is
replaced by the level that the loss had in the reference.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.losses import Loss
from loopline.monitoring.dependence import dependence_of, of_season, unexplained, upper_of
from loopline.monitoring.risk import MIN_REFERENCE_BLOCKS, Reference

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CONFIDENCE = 0.95


class Promise(msgspec.Struct, frozen=True):
    """What the reference blocks showed of a model, all mean losses: its `level`, its `skill` (loss minus that of the best
    constant, negative where it knows more), and its `surprise` (loss minus what its own scores expect; None where scores
    expect nothing). For losses of a scale (squared errors and the like) the `ratio` of the loss to that of the best constant
    stands for the skill: in a world twice as large it is the same.
    """

    level: float
    skill: float
    surprise: float | None
    ratio: float | None = None

    def by_base(self, base: Floats) -> Floats:
        """The base-rate account of blocks (blocks,), from the mean loss of their best constants."""
        return base + self.skill if self.ratio is None else base * self.ratio


def own_account(loss: Loss, scores: Floats, sure: Floats) -> Floats:
    """The loss (rows,) that the scores are to be expected to have where `sure` are the true probabilities.

    Both are probabilities of the positive class (rows,), or of each class (rows, k).
    """
    if scores.ndim == 1:
        return sure * loss.rows(scores, np.ones_like(scores)) + (1 - sure) * loss.rows(scores, np.zeros_like(scores))
    rows, classes = scores.shape
    expected = np.zeros(rows)
    for place in range(classes):
        expected += sure[:, place] * loss.rows(scores, np.full(rows, float(place)))
    return expected


def promise_of(loss: Floats, base: Floats, own: Floats | None, *, scaled: bool = False) -> Promise:
    """The promise of reference blocks, from the means of each block (blocks,); `scaled` for losses of a scale."""
    surprise = None if own is None else float(np.mean(loss - own))
    ratio = float(np.mean(loss) / np.mean(base)) if scaled and np.mean(base) > 0 else None
    return Promise(float(np.mean(loss)), float(np.mean(loss - base)), surprise, ratio)


def due(promise: Promise, base: Floats, own: Floats | None, faulty: Mask) -> Floats:
    """The mean loss due in each block (blocks,); `faulty` marks blocks with a data fault."""
    level = np.full_like(base, promise.level)
    excused = level if own is None or promise.surprise is None else np.where(faulty, level, own + promise.surprise)
    return np.maximum(promise.by_base(base), excused)


def reference_of(
    promise: Promise,
    loss: Floats,
    base: Floats,
    own: Floats | None,
    *,
    starts: Sequence[datetime] | None = None,
    block: str = "1d",
) -> Reference:
    """The reference of the excess above what was due, from the means of each reference block (blocks,).

    With the `starts` of blocks a season of that excess is looked for, and taken off, as in `Dependence`: bad Mondays are due.

    Its bound is the higher of the bounds of both accounts, so that harm is only what lies above each; where the accounts err
    apart from each other, the mean excess lies below. Raises `InvalidInput` for fewer than 5 blocks.
    """
    figures = loss - due(promise, base, own, np.zeros(len(loss), dtype=np.bool_))
    if len(figures) < MIN_REFERENCE_BLOCKS:
        raise InvalidInput(
            "alone.reference_short",
            f"the reference has {len(figures)} blocks; it needs {MIN_REFERENCE_BLOCKS}",
            remedy="Let it end later (--reference-until), use shorter blocks (--block), or give more history.",
        )
    apart = loss - promise.level if own is None or promise.surprise is None else loss - own - promise.surprise
    found = dependence_of(figures.tolist(), starts, block)
    season = of_season(found.season, starts or (), block) if found.season else 0.0
    upper = max(upper_of(account - season, CONFIDENCE) for account in (loss - promise.by_base(base), apart))
    figures = figures - season
    left = unexplained(figures, found.carry) if found.carry else figures
    mean, spread = float(figures.mean()), float(left.std(ddof=1))
    return Reference(mean, upper, spread, len(figures), found.season, found.carry).lifted(left)
