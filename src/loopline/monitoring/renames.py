"""A category that goes by another name, in whole or in part, or together with another: what one lost others have."""

import math
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

import msgspec

from loopline.monitoring.column_profile import CategoryProfile

_LEAST_SHARE = 0.005
_ERRORS = 4.0
_ALIKE = 0.75
_GONE = 0.1
_MOST_NAMED = 3
_MOST_GROWN = 2.0
"""Times the share that the old name had: new ones that have more do not come from it alone."""
_LONG = 5
"""Letters of a name: of shorter ones, such as codes of countries, two in three are the same by chance."""


class Rename(msgspec.Struct, frozen=True):
    """The known value `old` is now, or partly, one of `new`, which have `share` of the rows; it had `before` of them and has `after`.

    `kind` is `category_split` where the old name still comes, `category_rename` where it does not, `category_merge` where the new name is a
    known one.
    """

    kind: str
    old: str
    new: tuple[str, ...]
    share: float
    before: float
    after: float


def find_rename(
    known: Sequence[str],
    before: CategoryProfile,
    own: Sequence[CategoryProfile],
    now: CategoryProfile,
    may_be_gone: Callable[[str], bool] = lambda _value: True,
) -> Rename | None:
    """Which known value the new ones come from; None where what they have is what no single value lost.

    A value lost what lies below the least share that a reference's block has of it. Names that are alike decide between values that lost as much.
    `may_be_gone` says which known values' absence is something new.
    """
    given = now.rows - now.nulls
    if not given or not known:
        return None
    shares = [count / given for count in now.counts]
    usual = _usual(before, own)
    if now.unseen / given >= _LEAST_SHARE and now.new:
        return _into_new(known, shares, usual, now, given)
    return _into_known(known, shares, usual, given, may_be_gone)


def still_merged(
    known: Sequence[str], before: CategoryProfile, now: CategoryProfile, old: str, new: str
) -> Rename | None:
    """What was found of a value that is still gone, by the figures of now; None without rows."""
    given, whole = now.rows - now.nulls, max(before.rows - before.nulls, 1)
    if not given:
        return None
    place, other = known.index(old), known.index(new)
    return Rename("category_merge", old, (new,), now.counts[other] / given, before.counts[place] / whole, 0.0)


def shares_of_always(
    known: Sequence[str], own: Sequence[CategoryProfile], now: CategoryProfile
) -> dict[str, tuple[float, float]]:
    """The share of each value that every block of the reference has, and the least that one has."""
    given = now.rows - now.nulls
    blocks = [block for block in own if block.rows > block.nulls]
    found = {}
    for place, value in enumerate(known) if given and blocks else ():
        least = min(block.counts[place] / (block.rows - block.nulls) for block in blocks)
        if least:
            found[value] = (now.counts[place] / given, least)
    return found


def _usual(before: CategoryProfile, own: Sequence[CategoryProfile]) -> list[tuple[float, float, float]]:
    """The share of each known value in all of the reference, and the least and most of its blocks."""
    whole = max(before.rows - before.nulls, 1)
    blocks = [block for block in own if block.rows > block.nulls]
    found = []
    for place, count in enumerate(before.counts):
        shares = [block.counts[place] / (block.rows - block.nulls) for block in blocks] or [count / whole]
        found.append((count / whole, min(shares), max(shares)))
    return found


def _into_new(
    known: Sequence[str],
    shares: Sequence[float],
    usual: Sequence[tuple[float, float, float]],
    now: CategoryProfile,
    given: int,
) -> Rename | None:
    unseen = now.unseen / given
    names = sorted(now.new, key=lambda name: (-now.new[name], name))
    ranked = []
    for place, old in enumerate(known):
        mean, least, most = usual[place]
        lost = mean - shares[place]
        error = _error(mean, given) + (most - least) / 2
        both = shares[place] + unseen
        near = _error(mean, given) / 2
        if lost <= 0 or unseen > _MOST_GROWN * mean or not least - near <= both <= most + near:
            continue
        alike = sum(now.new[name] * _alike(old, name) for name in names) / max(sum(now.new.values()), 1)
        surely = lost > error or alike >= _ALIKE
        if surely:
            ranked.append((alike + _nearness(both, mean, error), place))
    if not ranked:
        return None
    place = max(ranked)[1]
    kind = "category_rename" if shares[place] <= _GONE * usual[place][1] else "category_split"
    return Rename(kind, known[place], tuple(names[:_MOST_NAMED]), unseen, usual[place][0], shares[place])


def _into_known(
    known: Sequence[str],
    shares: Sequence[float],
    usual: Sequence[tuple[float, float, float]],
    given: int,
    may_be_gone: Callable[[str], bool],
) -> Rename | None:
    """A known value that is gone, and another that has grown by as much, and by more than all others, which share what is missing."""
    lost = sum(mean for place, (mean, _, _) in enumerate(usual) if not shares[place])
    gone = [
        place
        for place, (mean, least, _) in enumerate(usual)
        if shares[place] == 0 and least > max(_LEAST_SHARE, _error(mean, given)) and may_be_gone(known[place])
    ]
    for place in gone:
        mean = usual[place][0]
        for other, (level, least, most) in enumerate(usual):
            grown = shares[other] - level
            as_others = level * lost / max(1 - lost, _LEAST_SHARE)
            error = _error(level, given) + (most - least) / 2
            more = shares[other] > most and grown - as_others > error / 2
            if other != place and more and abs(grown - mean) <= error:
                return Rename("category_merge", known[place], (known[other],), shares[other], mean, 0.0)
    return None


def _error(share: float, rows: int) -> float:
    return _ERRORS * math.sqrt(max(share * (1 - share), 1 / rows) / rows)


def _nearness(share: float, mean: float, error: float) -> float:
    return 1.0 - min(abs(share - mean) / error, 1.0) if error else 1.0


def _alike(first: str, second: str) -> float:
    """How alike two names are, in [0, 1]: 1 where they differ in case, spaces and signs only."""
    a, b = ("".join(char for char in name.casefold() if char.isalnum()) for name in (first, second))
    if not a or not b:
        return 0.0
    if a == b or (len(min(a, b, key=len)) > 1 and (a.startswith(b) or b.startswith(a))):
        return 1.0
    return SequenceMatcher(None, a, b).ratio() if min(len(a), len(b)) >= _LONG else 0.0
