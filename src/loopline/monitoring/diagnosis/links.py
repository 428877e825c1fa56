"""Columns whose links to the others are broken, though each still looks as it did: what a join on the wrong key does.

A link is the mutual information of two columns, or of a column and its own value in the row before, less what chance gives. A join that goes wrong
breaks the links of all columns that it brings to all others, and leaves those among themselves.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_MOST_ROWS = 20_000
_WINDOWS = 4
_PART_ROWS = 1000
_LEAST_ROWS = 300
_ROWS_A_PAIR = 5
_BEYOND_CHANCE = 6.0
_STRONG = 0.05
_KEPT = 0.5
_LOST = 0.6
_OWN = 0.5
_LATER = 8
_MOVED = 0.05
_HEAVIEST = 20.0
_NONE: Ints = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Broken:
    """Columns that lost their links: `before` and `since` are the sums of their links to other columns and to their own past, in bits. Where these
    had links to each other alone, which are gone, they are `apart`: one of them is wrong, or several.
    """

    columns: tuple[str, ...]
    before: float
    since: float
    strongest: str
    strongest_before: float
    strongest_since: float
    apart: bool = False


def broken_links(
    codes: Mapping[str, Codes], before: Ints, since: Ints, fixed: Sequence[str] = (), between: Ints = _NONE
) -> Broken | None:
    """The group of columns that lost most of their links between the rows `before` and `since`, places in the order of time; `between` are
    those of the time between.

    `fixed` are columns that cannot be wrong, such as the time of day. None where no link broke that held in each quarter of `before`.
    """
    if min(len(before), len(since)) < _LEAST_ROWS:
        return None
    names = list(codes)
    parts = _parts(before, _WINDOWS)
    course = np.array(
        [_links(codes, names, _window(part)) for part in (*parts, *_parts(np.concatenate([between, since]), _LATER))]
    )
    held: Floats = course[: len(parts)].min(axis=0)
    now = _links(codes, names, _window(since))
    material = held > np.maximum(_STRONG, _BEYOND_CHANCE * _chance(codes, names, before, len(parts)))
    broke = _beyond_mix(codes, names, (_window(before), _window(since)), material & _broke(course, len(parts)), now)
    own = np.diag(held)
    shuffled = (own > _OWN) & np.diag(broke)
    if shuffled.sum() > 1 and shuffled[own > _OWN].all():
        shuffled[:] = False  # the rows come in another order: that says nothing of a column
        np.fill_diagonal(material, val=False)
    lost = material & broke
    shares = _lost_shares(held, now, material, lost)
    free = np.array([name not in fixed for name in names])
    group = [int(place) for place in np.flatnonzero(((shares > _LOST) | shuffled) & free)]
    group = [place for place in _kept_together(group, material, lost) if free[place]]
    if not group:
        return None
    outside = [place for place in range(len(names)) if place not in group]
    pairs = [(a, b) for a in group for b in (*outside, a) if lost[a, b]]
    apart = not pairs
    if apart:
        outside, pairs = group, [(a, b) for a in group for b in group if b < a and lost[a, b]]
    if not pairs:
        return None
    a, b = max(pairs, key=lambda pair: held[pair])
    strongest = f"{names[a]} and the {names[a]} before" if a == b else f"{names[a]} and {names[b]}"
    total = [float(sum(one[x, y] for x in group for y in {*outside, x} if material[x, y])) for one in (held, now)]
    columns = tuple(names[place] for place in group)
    return Broken(columns, total[0], total[1], strongest, float(held[a, b]), float(now[a, b]), apart)


def _parts(places: Ints, most: int) -> list[Ints]:
    return np.array_split(places, max(min(most, len(places) // _PART_ROWS), 1))


def _chance(codes: Mapping[str, Codes], names: Sequence[str], before: Ints, parts: int) -> Floats:
    """How far the information of independent columns, in one of so many parts, lies from nought by chance, in bits: that of a chi-square."""
    seen = _window(before)
    freedom = np.array([_dense(codes[name][seen])[1] - 1 for name in names])
    found: Floats = np.sqrt(2.0 * np.outer(freedom, freedom)) / (2 * (len(before) / parts) * math.log(2))
    return found


def _broke(course: Floats, reference: int) -> Mask:
    """Links (columns, columns) that from some part of the time on, of which the first `reference` are the reference's, have less than half of
    the least that they had in any part before. What a season takes away little by little has not, nor what comes and goes. The part in which
    it broke may lie between.
    """
    broke: Mask = np.zeros(course.shape[1:], dtype=np.bool_)
    for first in range(reference, len(course)):
        least = _KEPT * course[:first].min(axis=0)
        for after in {first, min(first + 1, len(course) - 1)}:
            broke |= course[after:].max(axis=0) < least
    return broke


def _beyond_mix(
    codes: Mapping[str, Codes], names: Sequence[str], rows: tuple[Ints, Ints], broke: Mask, now: Floats
) -> Mask:
    """Those of the broken links that would hold if the rows of before were mixed as those since are, by any column whose mix moved: where
    groups of travellers stay away, so does what their rows have in common.
    """
    before, since = rows
    left = broke.copy()
    for name in names:
        values, width = _dense(codes[name][np.concatenate([before, since])])
        p, q = (np.bincount(one, minlength=width) / len(one) for one in (values[: len(before)], values[len(before) :]))
        if np.abs(p - q).sum() / 2 < _MOVED:
            continue
        weights = np.minimum(q / np.maximum(p, 1 / len(before)), _HEAVIEST)[values[: len(before)]]
        for a, b in zip(*np.nonzero(np.tril(left)), strict=True):
            first, second = (_dense(codes[names[place]][before]) for place in (a, b))
            pair = (first[0][1:], second[0][:-1]) if a == b else (first[0], second[0])
            mixed = _information(pair[0], first[1], pair[1], second[1], weights[1:] if a == b else weights)
            if now[a, b] >= _KEPT * mixed or mixed <= _STRONG:
                left[a, b] = left[b, a] = False
    return left


def _window(places: Ints) -> Ints:
    """Neighbouring rows from all over: a few runs, so that the row before is the row before."""
    if len(places) <= _MOST_ROWS:
        return places
    runs = 20
    size = _MOST_ROWS // runs
    starts = np.linspace(0, len(places) - size, runs).astype(np.int64)
    return np.concatenate([places[start : start + size] for start in starts])


def _links(codes: Mapping[str, Codes], names: Sequence[str], places: Ints) -> Floats:
    """Symmetric (columns, columns); on the diagonal the link of a column to itself in the row before."""
    given = [_dense(codes[name][places]) for name in names]
    found = np.zeros((len(names), len(names)))
    for a, (first, width) in enumerate(given):
        found[a, a] = _information(first[1:], width, first[:-1], width)
        for b in range(a):
            found[a, b] = found[b, a] = _information(first, width, *given[b])
    return found


def _dense(values: Codes) -> tuple[Ints, int]:
    """Places among the values that there are, and how many; of few rows neighbours go together, or most pairs would be seen once or never."""
    distinct, places = np.unique(values, return_inverse=True)
    width, most = len(distinct), int(math.sqrt(len(values) / _ROWS_A_PAIR))
    if len(values) < 2 * _PART_ROWS and width > most:
        return places.astype(np.int64) * most // width, most
    return places.astype(np.int64), width


def _information(first: Ints, width: int, second: Ints, other: int, weights: Floats | None = None) -> float:
    """Mutual information in bits, less its bias by chance (Miller and Madow, Note on the bias of information estimates, 1955). Rows that weigh
    differently are as many as Kish's effective size.
    """
    joint = (
        np.bincount(first * other + second, weights, minlength=width * other).reshape(width, other).astype(np.float64)
    )
    total = joint.sum()
    if not total:
        return 0.0
    size = float(total) if weights is None else float(total) ** 2 / float((weights**2).sum())
    rows, columns = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    filled = joint > 0
    expected = rows @ columns / total
    bits = float((joint[filled] / total * np.log2(joint[filled] / expected[filled])).sum())
    cells = int((rows > 0).sum() - 1) * int((columns > 0).sum() - 1)
    return max(0.0, bits - cells / (2 * size * math.log(2)))


def _lost_shares(held: Floats, now: Floats, material: Mask, lost: Mask) -> Floats:
    """The share of each column's links that is gone, with those that broke."""
    before = np.where(material, held, 0.0).sum(axis=1)
    gone = np.where(lost, np.maximum(held - now, 0.0), 0.0).sum(axis=1)
    shares: Floats = np.divide(gone, before, out=np.zeros(len(held)), where=before > 0)
    return shares


def _kept_together(group: list[int], material: Mask, lost: Mask) -> list[int]:
    """With the columns that kept their link to one of the group and lost one to a column outside of it: they came by the same join."""
    together = list(group)
    for place in range(len(lost)):
        if place in together or not together:
            continue
        kept = any(material[place, one] and not lost[place, one] for one in together)
        broke = bool(lost[place, place]) or any(lost[place, one] for one in range(len(lost)) if one not in together)
        if kept and broke:
            together.append(place)
    return sorted(together)


def spread_of(values: Codes) -> float:
    """The entropy of the bins, in bits."""
    counts = np.bincount(values)
    shares = counts[counts > 0] / max(len(values), 1)
    return float(-(shares * np.log2(shares)).sum())
