"""Drift of inputs: how far, how unusual, and in words. It explains an alarm and never raises one."""

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.monitoring.column_profile import CategoryProfile, ColumnProfile, NumberProfile
from loopline.monitoring.profile import Profile, ReferenceProfile

Floats = npt.NDArray[np.float64]

FLOOR = 1e-4
_UNUSUAL = 0.05
_NOTABLE = 0.02


class Drift(msgspec.Struct, frozen=True):
    """How far a column's distribution over the frozen bins, with out of range, unseen and null, is from the reference's.

    `jensen_shannon` is the distance in [0, 1] (root of the divergence in bits), `total_variation` the share of rows that
    would have to change bin, `psi` the population stability index with shares floored at 1e-4, `wasserstein` for numbers the
    mean distance a value moved, in standard deviations of the reference.
    """

    jensen_shannon: float
    total_variation: float
    psi: float
    wasserstein: float | None = None


class Suspect(msgspec.Struct, frozen=True):
    """A column that may explain harm. `effect` is its Jensen-Shannon distance, `usual` what the reference's own blocks show."""

    column: str
    effect: float
    usual: float
    importance: float
    score: float
    drift: Drift
    sentence: str


def diagnose(
    reference: ReferenceProfile, current: Profile, importance: Mapping[str, float] | None = None
) -> list[Suspect]:
    """Columns that lie further from the reference than is usual, the likeliest cause first.

    Usual is the 95th percentile of the distance of each of the reference's own blocks from the reference, or, without blocks, of
    what sampling alone does. A suspect's score is its distance beyond the usual times its importance, which is 1 for a
    column that `importance` does not name.
    """
    suspects = [
        _suspect(reference, current, name, (importance or {}).get(name, 1.0))
        for name in (*reference.profile.numbers, *reference.profile.categories)
        if _column(current, name).rows
    ]
    unusual = [suspect for suspect in suspects if suspect.score > 0]
    return sorted(unusual, key=lambda suspect: (-suspect.score, suspect.column))


def drift(reference: ColumnProfile, current: ColumnProfile, edges: Sequence[float] | None = None) -> Drift:
    """The drift of one column between two profiles of one binning; `edges` of a numeric one add the Wasserstein distance."""
    p, q = _shares(reference), _shares(current)
    moved = None
    if edges is not None and isinstance(reference, NumberProfile) and isinstance(current, NumberProfile):
        moved = _wasserstein(reference, current, edges)
    return Drift(_jensen_shannon(p, q), float(np.abs(p - q).sum() / 2), _psi(p, q), moved)


def _column(profile: Profile, name: str) -> ColumnProfile:
    return profile.numbers[name] if name in profile.numbers else profile.categories[name]


def _suspect(reference: ReferenceProfile, current: Profile, name: str, importance: float) -> Suspect:
    before, now = _column(reference.profile, name), _column(current, name)
    found = drift(before, now, reference.binning.numbers.get(name))
    usual = _usual(reference, before, now, name)
    score = max(found.jensen_shannon - usual, 0.0) * importance
    return Suspect(name, found.jensen_shannon, usual, importance, score, found, _sentence(reference, name, before, now))


def _usual(reference: ReferenceProfile, before: ColumnProfile, now: ColumnProfile, name: str) -> float:
    sampled = _sampling(before, now)
    own = [_column(block, name) for block in reference.blocks]
    distances = [_jensen_shannon(_shares(before), _shares(block)) for block in own if block.rows]
    return max(sampled, float(np.quantile(distances, 1 - _UNUSUAL))) if distances else sampled


def _sampling(before: ColumnProfile, now: ColumnProfile) -> float:
    """The distance that chance alone exceeds in 5 % of cases: the divergence is a chi-square to second order."""
    from scipy.special import chdtri  # noqa: PLC0415 - a quarter of a second, which most commands need not wait for

    filled = sum(1 for count in before.masses if count)
    quantile = float(chdtri(max(filled - 1, 1), _UNUSUAL))
    return math.sqrt(quantile * (1 / before.rows + 1 / now.rows) / (8 * math.log(2)))


def _shares(column: ColumnProfile) -> Floats:
    masses = np.array(column.masses, dtype=np.float64)
    shares: Floats = masses / max(float(masses.sum()), 1.0)
    return shares


def _jensen_shannon(p: Floats, q: Floats) -> float:
    middle = (p + q) / 2
    return math.sqrt(max((_divergence(p, middle) + _divergence(q, middle)) / 2, 0.0))


def _divergence(p: Floats, q: Floats) -> float:
    some = p > 0
    return float((p[some] * np.log2(p[some] / q[some])).sum())


def _psi(p: Floats, q: Floats) -> float:
    a, b = np.maximum(p, FLOOR), np.maximum(q, FLOOR)
    return float(((a - b) * np.log(a / b)).sum())


def _wasserstein(reference: NumberProfile, current: NumberProfile, edges: Sequence[float]) -> float | None:
    """The area between both distribution functions, taken as straight between edges: long tails count a little too much."""
    if not reference.finite or not current.finite or not reference.deviation:
        return None
    low = min(value for value in (reference.low, current.low) if value is not None)
    high = max(value for value in (reference.high, current.high) if value is not None)
    at = np.array([low, *edges, high])
    gap = _distribution(current) - _distribution(reference)
    return _area(at, gap) / reference.deviation


def _distribution(column: NumberProfile) -> Floats:
    counts = np.array(column.counts, dtype=np.float64)
    shares: Floats = np.concatenate([[0.0], np.cumsum(counts)]) / float(counts.sum())
    return shares


def _area(at: Floats, gap: Floats) -> float:
    width, left, right = np.diff(at), gap[:-1], gap[1:]
    height = np.abs(left) + np.abs(right)
    crossing = (left * right < 0) & (height > 0)
    straight = width * height / 2
    crossed = width * (left**2 + right**2) / np.where(height > 0, 2 * height, 1)
    return float(np.where(crossing, crossed, straight).sum())


def _sentence(reference: ReferenceProfile, name: str, before: ColumnProfile, now: ColumnProfile) -> str:
    """What changed most, in the order of what a person would look at first."""
    if now.null_share - before.null_share > _NOTABLE:
        return f"{name} is missing in {now.null_share:.1%} of rows; it was in {before.null_share:.1%}."
    if isinstance(now, CategoryProfile) and isinstance(before, CategoryProfile):
        return _sentence_of_category(name, reference.binning.categories[name], before, now)
    if isinstance(now, NumberProfile) and isinstance(before, NumberProfile):
        return _sentence_of_number(name, before, now)
    return f"{name} changed."


def _sentence_of_category(name: str, known: Sequence[str], before: CategoryProfile, now: CategoryProfile) -> str:
    if now.unseen > _NOTABLE * now.rows:
        return f"{name} has values not seen in training in {now.unseen / now.rows:.1%} of rows, such as {now.examples[0]!r}."
    if not known:
        return f"{name} is present in {1 - now.null_share:.1%} of rows; it was in {1 - before.null_share:.1%}."
    change = _shares(now)[: len(known)] - _shares(before)[: len(known)]
    most = int(np.abs(change).argmax())
    return f"{name}={known[most]} makes {_shares(now)[most]:.1%} of rows; it made {_shares(before)[most]:.1%}."


def _sentence_of_number(name: str, before: NumberProfile, now: NumberProfile) -> str:
    if now.out_of_range > _NOTABLE * now.rows:
        return (
            f"{name} is outside of [{before.low:.4g}, {before.high:.4g}], all it was trained on, in "
            f"{now.out_of_range / now.rows:.1%} of rows."
        )
    if now.mean is None or before.mean is None:
        return f"{name} has no finite values."
    return (
        f"{name} has a mean of {now.mean:.4g} (standard deviation {now.deviation:.4g}); it was {before.mean:.4g} "
        f"({before.deviation:.4g})."
    )
