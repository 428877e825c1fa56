"""How long a block should be, where nobody says: days if there are enough, with enough labels in each."""

from dataclasses import dataclass
from datetime import timedelta

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
    moments, scarce = at[known], at[known & rare]
    found = {block: _counted(moments, scarce, block) for block in LENGTHS}
    if _grants(found["1d"], DAYS, short=False):
        return Chosen("1d", DAYS.rows // 2)
    for wish in WISHES:
        for block in LENGTHS:
            short = wish.blocks >= _MANY and duration(block) < _A_DAY
            if _grants(found[block], wish, short=short):
                return Chosen(block, max(30, wish.rows // 2))
    return None


@dataclass(frozen=True)
class _Counted:
    blocks: int
    occupied: float
    rows: float
    rare: float


def _counted(moments: Ints, scarce: Ints, block: str) -> _Counted:
    length = duration(block) // MICROSECOND
    if not len(moments):
        return _Counted(0, 0.0, 0.0, 0.0)
    numbers, rows = np.unique(-(-moments // length), return_counts=True)
    rare = len(scarce) / len(numbers)
    return _Counted(len(numbers), len(numbers) / float(numbers[-1] - numbers[0] + 1), float(np.median(rows)), rare)


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
