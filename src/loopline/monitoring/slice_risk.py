"""Harm in one slice: its unexplained loss above that of the other rows of the same blocks, watched with a budget of its own.

What a whole day does to everybody is taken out by the rows outside of the slice, so that a slice of a tenth of the rows can be seen to be harmed
where the mean of all rows moves less than days do. Each slice has its own e-process, of which each alarms at most once in as many blocks as
all slices together may in a slice's share of the budget: by the sum, false pages of all slices together stay within it, however slices depend on each
other. Shin, Ramdas and Rinaldo, E-detectors, 2022.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopline.evidence import e_sr
from loopline.evidence.student import quantile
from loopline.monitoring.dependence import autocorrelation
from loopline.monitoring.episode import Episode, find_episode
from loopline.monitoring.risk import MIN_REFERENCE_BLOCKS, Reference, Risk, bet

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BUDGET_SHARE = 0.1
"""All slices together may page falsely a tenth as often as the whole, in addition to it."""

_FEWEST = 50
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class SliceHarm:
    """A slice that was found to be harmed. `alarms` are places of blocks; `episode` is the last stretch of it, in blocks; `rise` is by how much the
    unexplained loss of a row in it rose more than outside of it, with its standard error over blocks.
    """

    slice: str
    alarms: tuple[int, ...]
    episode: Episode
    rise: float
    error: float
    rows_share: float


@dataclass(frozen=True)
class SliceBlocks:
    """Rows and unexplained loss of a slice in each block: (blocks,) both."""

    rows: Floats
    loss: Floats


def watch_slices(slices: Mapping[str, SliceBlocks], whole: SliceBlocks, risk: Risk, reference: int) -> list[SliceHarm]:
    """The slices with an alarm after the first `reference` blocks, those alarmed first first.

    A slice is left out that has fewer than five stretches of 50 rows in the reference, or is nearly all rows.
    """
    told = {name: one for name, part in slices.items() if (one := _gathered(part, whole, reference)) is not None}
    found = []
    for name, one in told.items():
        harm = _watch(name, one, risk, len(told), slices[name], whole)
        if harm is not None:
            found.append(harm)
    return sorted(found, key=lambda harm: (harm.alarms[0], -harm.rise * harm.rows_share, harm.slice))


@dataclass(frozen=True)
class _Gathered:
    """Stretches of blocks with enough rows: the excess of each, its first and last block, and how many are the reference's."""

    excess: Floats
    first: Ints
    last: Ints
    reference: int


def _gathered(part: SliceBlocks, whole: SliceBlocks, reference: int) -> _Gathered | None:
    excess: list[float] = []
    first: list[int] = []
    last: list[int] = []
    begin, count = 0, len(part.rows)
    inside, outside = np.cumsum(part.rows), np.cumsum(whole.rows - part.rows)
    lost, others = np.cumsum(part.loss), np.cumsum(whole.loss - part.loss)
    known = 0
    for place in range(count):
        before = begin - 1
        rows = inside[place] - (inside[before] if begin else 0.0)
        away = outside[place] - (outside[before] if begin else 0.0)
        if rows >= _FEWEST and away >= _FEWEST:
            own = (lost[place] - (lost[before] if begin else 0.0)) / rows
            rest = (others[place] - (others[before] if begin else 0.0)) / away
            excess.append(float(own - rest))
            first.append(begin)
            last.append(place)
            begin = place + 1
        if place == reference - 1:
            known, begin = len(excess), reference
    if known < MIN_REFERENCE_BLOCKS or len(excess) == known:
        return None
    return _Gathered(np.array(excess), np.array(first), np.array(last), known)


def _watch(
    name: str, told: _Gathered, risk: Risk, slices: int, part: SliceBlocks, whole: SliceBlocks
) -> SliceHarm | None:
    before, watched = told.excess[: told.reference], told.excess[told.reference :]
    reference = Reference(float(before.mean()), _upper(before), float(before.std(ddof=1)), len(before))
    terms, process = bet(risk, reference), e_sr.ESR()
    threshold = risk.threshold * slices / BUDGET_SHARE
    alarms = []
    for place, excess in enumerate(watched.tolist()):
        process = e_sr.update(process, terms.observation(excess), terms.mean)
        if process.alarms(threshold):
            alarms.append(place)
            process = e_sr.ESR()
    if not alarms:
        return None
    allowed = reference.upper + risk.tolerance
    one = find_episode(watched, reference.mean, reference.spread, allowed, alarms[-1])
    blocks = told.first[told.reference :], told.last[told.reference :]
    episode = Episode(
        int(blocks[0][one.first]),
        int(blocks[1][one.last]),
        int(blocks[0][one.earliest]),
        int(blocks[0][one.latest]),
        one.ended,
    )
    stretch = watched[one.first : one.last + 1]
    error = float(np.hypot(reference.spread / math.sqrt(len(before)), _error(stretch, reference.spread)))
    since = slice(episode.first, episode.last + 1)
    share = float(part.rows[since].sum() / max(whole.rows[since].sum(), 1.0))
    paged = tuple(int(blocks[1][place]) for place in alarms)
    return SliceHarm(name, paged, episode, float(stretch.mean()) - reference.mean, error, share)


def _error(values: Floats, spread: float) -> float:
    own = float(values.std(ddof=1)) if len(values) > 1 else spread
    return max(own, spread) / math.sqrt(len(values))


def _upper(figures: Floats) -> float:
    """An upper confidence bound of the mean of stretches that follow each other, as `due.reference_of` has it."""
    r = autocorrelation(figures)
    effective = max(2.0, len(figures) * (1 - r) / (1 + r))
    spread = float(figures.std(ddof=1))
    return float(figures.mean()) + quantile(_CONFIDENCE, effective - 1) * spread / math.sqrt(effective)
