"""Which slices carry a harm: where the loss rose more than elsewhere, and by what share of the whole."""

from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.evaluation.intervals import Interval, holm, interval_of_sums

Floats = npt.NDArray[np.float64]

_FEWEST = 30


class Carrier(msgspec.Struct, frozen=True):
    """A slice whose unexplained loss rose. `rise` is per row of it since the onset, with its interval over blocks; `share` is
    how much of the whole rise its rows make, `rows_share` how much of the rows.
    """

    slice: str
    rows: int
    rows_share: float
    rise: Interval
    share: float
    p_adjusted: float
    sentence: str


class SliceSums(msgspec.Struct, frozen=True):
    """A slice: labelled rows and the sum of unexplained loss of each block (blocks,), before and since the onset."""

    name: str
    rows_before: Floats
    loss_before: Floats
    rows_since: Floats
    loss_since: Floats


def carriers(slices: Mapping[str, SliceSums], *, significant: float = 0.05) -> list[Carrier]:
    """The slices whose loss surely rose more than that of all rows, those that carry most of the harm first.

    `slices` holds all rows under the empty name. Each slice's rise is measured against its own level before, and tested
    against the rise of the rows outside of it; p-values are corrected by Holm's method for all slices looked at.
    """
    whole = slices[""]
    total = _rise_sum(whole)
    tested = {name: _beyond(part, whole) for name, part in slices.items() if name and _large(part)}
    adjusted = holm([interval.p_above() for interval in tested.values()])
    found = []
    for (name, _), p in zip(tested.items(), adjusted, strict=True):
        part = slices[name]
        if p <= significant and total > 0:
            found.append(_carrier(part, whole, total, p))
    return sorted(found, key=lambda one: (-(one.share - one.rows_share), one.slice))


def _large(part: SliceSums) -> bool:
    return bool(
        part.rows_before.sum() >= _FEWEST and part.rows_since.sum() >= _FEWEST and (part.rows_since > 0).sum() > 1
    )


def _mean_before(part: SliceSums) -> float:
    return float(part.loss_before.sum() / max(part.rows_before.sum(), 1.0))


def _rise_sum(part: SliceSums) -> float:
    return float(part.loss_since.sum() - _mean_before(part) * part.rows_since.sum())


def _rise(part: SliceSums) -> Interval:
    """The rise per row, with the error of the level before added to that since."""
    since = interval_of_sums(part.loss_since, part.rows_since)
    before = interval_of_sums(part.loss_before, part.rows_before)
    mean, error = since.mean - before.mean, float(np.hypot(since.error, before.error))
    wide = (since.upper - since.lower) / (2 * since.error) if since.error > 0 else 0.0
    return Interval(mean, mean - wide * error, mean + wide * error, error, since.blocks, since.rows)


def _beyond(part: SliceSums, whole: SliceSums) -> Interval:
    """How much more it rose than the rows outside of it."""
    outside = SliceSums(
        "",
        whole.rows_before - part.rows_before,
        whole.loss_before - part.loss_before,
        whole.rows_since - part.rows_since,
        whole.loss_since - part.loss_since,
    )
    inside, others = _rise(part), _rise(outside) if _large(outside) else _rise(whole)
    error = float(np.hypot(inside.error, others.error))
    return Interval(inside.mean - others.mean, -np.inf, np.inf, error, inside.blocks, inside.rows)


def _carrier(part: SliceSums, whole: SliceSums, total: float, p: float) -> Carrier:
    rise, share = _rise(part), _rise_sum(part) / total
    rows, rows_share = int(part.rows_since.sum()), float(part.rows_since.sum() / max(whole.rows_since.sum(), 1.0))
    sentence = (
        f"{part.name} carries {min(share, 1.0):.0%} of the harm with {rows_share:.0%} of the rows: its loss rose by "
        f"{rise.mean:.3g} ({rise.lower:.3g} to {rise.upper:.3g})."
    )
    return Carrier(part.name, rows, rows_share, rise, share, p, sentence)
