"""Harm in slices: the unexplained loss of each above that of the other rows of the same blocks, watched together within one budget.

What a whole day does to everybody is taken out by the rows outside of the slice, so that a slice of a tenth of the rows can be seen to be harmed
where the mean of all rows moves less than days do. The slices are cut once, in the reference. Each has its own e-process, from its own baseline; at the end
of each block e-BH says which are harmed.

**Guarantee.** With M the e-detectors of K slices, e-BH names r of them where each of these has `M >= K A / r`. They begin again at 0, so an alarm, of however many
slices, takes at least K A out of the sum of all M, which rises by at most K a block in the mean while nothing is wrong. So `E[alarms by T] <= T / A`, however
slices depend on each other. M over the blocks seen is an e-value, so of the slices named at block t at most a share t / A is named wrongly in the mean.

Shin, Ramdas and Rinaldo, E-detectors, 2022 (arXiv 2203.03532); Wang and Ramdas, False discovery rate control with e-values, 2022.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopline.evidence.e_bh import rejected
from loopline.evidence.e_sr import STAKES
from loopline.evidence.student import quantile
from loopline.monitoring.dependence import STICKIEST, autocorrelation
from loopline.monitoring.episode import Episode, find_episode
from loopline.monitoring.risk import MIN_REFERENCE_BLOCKS, Bet, Risk

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_FEWEST = 50
_CONFIDENCE = 0.95
_BELOW = 1.0
_ABOVE = 20.0
_HALF = 0.5
_BEYOND_CHANCE = 2.0


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


def watch_slices(
    slices: Mapping[str, SliceBlocks], whole: SliceBlocks, risk: Risk, reference: int, false_pages_per_year: float
) -> list[SliceHarm]:
    """The slices with an alarm after the first `reference` blocks, those alarmed first first; all of them together page falsely at most so often.

    A slice is left out that has fewer than five stretches of 50 rows in the reference, or is nearly all rows.
    """
    told = {name: one for name, part in slices.items() if (one := _gathered(part, whole, reference)) is not None}
    if not told or not false_pages_per_year:
        return []
    baselines = _baselines(told, risk.tolerance)
    alarms = _alarms(told, baselines, len(whole.rows), min(false_pages_per_year / risk.blocks_per_year, _HALF))
    found = [_harm(name, told[name], baselines[name], places, slices[name], whole) for name, places in alarms.items()]
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


@dataclass(frozen=True)
class _Baseline:
    """What a slice's excess was in the reference: `mean` and `spread` of a stretch, which share of what it lies off the next keeps (`carry`), what the
    mean may be (`allowed`), and the bet against more.
    """

    mean: float
    spread: float
    stretches: int
    carry: float
    allowed: float
    bet: Bet

    def unexplained(self, excess: Floats, before: Floats) -> Floats:
        """What the stretch before each does not explain of its excess."""
        return excess - self.carry * (before - self.allowed)


def _baseline(figures: Floats, carry: float, tolerance: float) -> _Baseline:
    """A bettor may risk all on the lowest value, so that is near: a spread below the mean. By as much as the mean rises where what lies below is
    clipped, the bet is against more.
    """
    mean, spread = float(figures.mean()), float(figures.std(ddof=1))
    effective = max(2.0, len(figures) * (1 - carry) / (1 + carry))
    allowed = mean + quantile(_CONFIDENCE, effective - 1) * spread / math.sqrt(effective) + tolerance
    left = figures[1:] - carry * (figures[:-1] - mean)
    low = mean - max(float(left.std(ddof=1)), tolerance)
    least = allowed + float(np.maximum(left, low).mean() - left.mean())
    high = least + _ABOVE * (least - low)
    return _Baseline(mean, spread, len(figures), carry, allowed, Bet(low, high, (least - low) / (high - low)))


def _baselines(told: Mapping[str, _Gathered], tolerance: float) -> dict[str, _Baseline]:
    """One slice has too few stretches to tell how much each keeps of the one before; all together have enough. One that clearly keeps more keeps that."""
    before = {name: one.excess[: one.reference] for name, one in told.items()}
    common = float(np.mean([_kept(figures) for figures in before.values()]))
    return {
        name: _baseline(figures, min(max(common, autocorrelation(figures, _BEYOND_CHANCE), 0.0), STICKIEST), tolerance)
        for name, figures in before.items()
    }


def _kept(figures: Floats) -> float:
    """The autocorrelation of lag 1, mended for its bias in so few (Kendall, 1954)."""
    centred = figures - figures.mean()
    total = float((centred**2).sum())
    r = float((centred[1:] * centred[:-1]).sum()) / total if total > 0 else 0.0
    return r + (1 + 3 * r) / len(figures)


def _alarms(
    told: Mapping[str, _Gathered], baselines: Mapping[str, _Baseline], blocks: int, rate: float
) -> dict[str, list[int]]:
    """For each slice that e-BH names, the places of its stretches after the reference at whose end it does; `rate` is alarms a block."""
    names = sorted(told)
    gains, begun = _gains(names, told, baselines, blocks)
    heights, least = np.zeros((len(names), len(STAKES))), math.log(1 / rate)
    alarms: dict[str, list[int]] = {}
    for block in range(blocks):
        ends = begun[:, block] >= 0
        if not ends.any():
            continue
        heights[ends] = np.logaddexp(0.0, gains[ends, block] + heights[ends])
        evidence = np.logaddexp.reduce(heights, axis=1) - math.log(len(STAKES))
        if evidence.max() < least:
            continue
        with np.errstate(divide="ignore"):
            log_m = evidence + np.log(-np.expm1(-evidence))
        for which in rejected(log_m.tolist(), rate):
            heights[which] = 0.0
            alarms.setdefault(names[which], []).append(int(begun[which, : block + 1].max()))
    return alarms


def _gains(
    names: Sequence[str], told: Mapping[str, _Gathered], baselines: Mapping[str, _Baseline], blocks: int
) -> tuple[Floats, Ints]:
    """What each stake gains where a stretch ends, (slices, blocks, stakes), and the place of that stretch, (slices, blocks), -1 where none ends."""
    gains, begun = np.zeros((len(names), blocks, len(STAKES))), np.full((len(names), blocks), -1)
    for which, name in enumerate(names):
        one, baseline = told[name], baselines[name]
        watched, before = one.excess[one.reference :], one.excess[one.reference - 1 : -1]
        left, terms = baseline.unexplained(watched, before), baseline.bet
        observed = (np.clip(left, terms.low, terms.high) - terms.low) / (terms.high - terms.low)
        ends = one.last[one.reference :]
        gains[which, ends] = np.log1p(np.array(STAKES) * ((observed - terms.mean) / terms.mean)[:, None])
        begun[which, ends] = np.arange(len(ends))
    return gains, begun


def _harm(
    name: str, told: _Gathered, baseline: _Baseline, alarms: list[int], part: SliceBlocks, whole: SliceBlocks
) -> SliceHarm:
    watched = told.excess[told.reference :]
    one = find_episode(watched, baseline.mean, baseline.spread, baseline.allowed, alarms[-1])
    blocks = told.first[told.reference :], told.last[told.reference :]
    episode = Episode(
        int(blocks[0][one.first]),
        int(blocks[1][one.last]),
        int(blocks[0][one.earliest]),
        int(blocks[0][one.latest]),
        one.ended,
    )
    stretch = watched[one.first : one.last + 1]
    error = float(np.hypot(baseline.spread / math.sqrt(baseline.stretches), _error(stretch, baseline.spread)))
    since = slice(episode.first, episode.last + 1)
    share = float(part.rows[since].sum() / max(whole.rows[since].sum(), 1.0))
    paged = tuple(int(blocks[1][place]) for place in alarms)
    return SliceHarm(name, paged, episode, float(stretch.mean()) - baseline.mean, error, share)


def _error(values: Floats, spread: float) -> float:
    own = float(values.std(ddof=1)) if len(values) > 1 else spread
    return max(own, spread) / math.sqrt(len(values))
