"""How long a block should be, where nobody says: days if there are enough, with enough labels in each."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial

import numpy as np
import numpy.typing as npt

from loopline.monitoring.risk import MIN_REFERENCE_BLOCKS
from loopline.values import MICROSECOND, duration

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LENGTHS = ("1d", "1w", "4w", "6h", "1h", "15m", "5m", "1m", "10s", "1s")
"""In the order of preference: a day holds the cycle that shorter blocks would take for harm."""

LEAST_BLOCKS = MIN_REFERENCE_BLOCKS + 3
_OCCUPIED = 0.5
_A_DAY = timedelta(days=1)
_MANY = 12
_SHORT = 3
"""So many times as many blocks are wished for where they are shorter than a day: harm shows in blocks, not in hours."""


@dataclass(frozen=True)
class Wish:
    """What a length has to give: so many blocks, and in the middle one so many labelled rows, and so many of the rarer class."""

    blocks: int
    rows: int
    rare: int


WISHES = (Wish(20, 200, 20), Wish(12, 200, 10), Wish(12, 100, 5), Wish(20, 30, 3), Wish(LEAST_BLOCKS, 50, 1))
"""From good to just possible."""

DAYS = Wish(40, 60, 6)
"""Days that do, however many rows weeks would have: evidence gathers over blocks, and harm that is told by days is seen weeks sooner."""


@dataclass(frozen=True)
class Chosen:
    """A length, and how many labelled rows a block needs."""

    block: str
    min_rows: int


def choose_block(at: Ints, known: Mask, rare: Mask) -> Chosen | None:
    """The length for rows at `at` (rising microseconds), of which those `known` count and those `rare` are of the rarer class.

    None where no length gives enough blocks.
    """
    return choose_block_of(lambda: iter([at[known]]), int(np.count_nonzero(known & rare)))


def choose_block_of(moments: Callable[[], Iterator[Ints]], rare: int) -> Chosen | None:
    """As `choose_block`, for rows that count at these rising moments, given part by part as often as they are asked for; so many are `rare`."""
    counted = cache(partial(_counted, moments, rare))
    if _grants(counted("1d"), DAYS, short=False):
        return Chosen("1d", DAYS.rows // 2)
    for wish in WISHES:
        for block in LENGTHS:
            short = wish.blocks >= _MANY and duration(block) < _A_DAY
            if _grants(counted(block), wish, short=short):
                return Chosen(block, max(30, wish.rows // 2))
    return None


@dataclass(frozen=True)
class _Counted:
    blocks: int
    occupied: float
    rows: float
    rare: float


def _counted(moments: Callable[[], Iterator[Ints]], rare: int, block: str) -> _Counted:
    length = duration(block) // MICROSECOND
    sizes: Counter[int] = Counter()
    first, last, open_ = 0, 0, 0
    for part in moments():
        numbers, rows = np.unique(-(-part // length), return_counts=True)
        if not len(numbers):
            continue
        if open_ and int(numbers[0]) == last:
            rows[0] += open_
        elif open_:
            sizes[open_] += 1
        else:
            first = int(numbers[0])
        last, open_ = int(numbers[-1]), int(rows[-1])
        sizes.update(rows[:-1].tolist())
    if not open_:
        return _Counted(0, 0.0, 0.0, 0.0)
    sizes[open_] += 1
    blocks = sizes.total()
    return _Counted(blocks, blocks / float(last - first + 1), _median(sizes, blocks), rare / blocks)


def _median(sizes: Counter[int], blocks: int) -> float:
    """Of so many sizes."""
    found, wanted = [], [(blocks - 1) // 2, blocks // 2]
    seen = 0
    for size in sorted(sizes):
        seen += sizes[size]
        while wanted and seen > wanted[0]:
            found.append(size)
            wanted.pop(0)
    return sum(found) / len(found)


def _grants(found: _Counted, wish: Wish, *, short: bool) -> bool:
    return (
        found.blocks >= wish.blocks * (_SHORT if short else 1)
        and found.rows >= wish.rows
        and found.rare >= wish.rare
        and found.occupied >= _OCCUPIED
    )


def rows_a_block(labelled: int) -> int | None:
    """How many labelled rows make a block where there are no times: up to a hundred blocks; None where rows are too few."""
    size = max(50, labelled // 100)
    return size if labelled // size >= LEAST_BLOCKS else None
