"""Folds in order of time: train on what was known at a cut, validate on what came after it."""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.values import MICROSECOND, duration, from_micros

Times = npt.NDArray[np.datetime64]
Rows = npt.NDArray[np.intp]

LEAST_FOLDS = 2


class Folds(msgspec.Struct, frozen=True):
    """How rows are folded: `count` folds whose validation rows are, together, the last `share` of the rows.

    Training rows are all before the cut, or with `window`, such as `"90d"`, those of the last stretch of that length.
    """

    count: int = 4
    window: str = ""
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.window:
            duration(self.window)
        if self.count < LEAST_FOLDS or not 0 < self.share < 1:
            raise InvalidInput(
                "folds.unusable",
                f"{self.count} folds over a share of {self.share} of the rows say nothing of spread",
                remedy="Ask for two folds or more, over a share between 0 and 1.",
            )


@dataclass(frozen=True)
class Fold:
    """One fold: row numbers to train on as if at the moment `cut` (UTC), and those to validate on, in their order."""

    cut: datetime
    train: Rows
    validate: Rows


def time_folds(at: Times, known_at: Times, folds: Folds, groups: npt.NDArray[np.generic] | None = None) -> list[Fold]:
    """The folds of rows, oldest cut first.

    All of shape (rows,), in any order: `at` is when a row's prediction is made (for a forecast its origin, not the time it is
    for), `known_at` when its label became known, both datetime64[us] in UTC; `groups` says which rows belong together. A row
    is trained on only if its label was known by the cut. Rows of one time, and of one group, are never split: a group
    counts as begun with its first row and as known with its last. Each row is validated on at most once, rows of one
    fold after those of the fold before. Cuts part the rows of the last `share` into stretches of equal numbers of rows, as far as
    ties allow. Raises `InvalidInput` where fewer than two folds have rows on both sides.
    """
    begins, ends, known = at, at, np.maximum(known_at, at)
    if groups is not None:
        _, member = np.unique(groups, return_inverse=True)
        begins, ends, known = _least(at, member), _most(at, member), _most(known, member)
    made = []
    for cut, until in pairwise(_cuts(begins, folds)):
        train = (ends <= cut) & (known <= cut)
        if folds.window:
            train &= begins > cut - np.timedelta64(duration(folds.window) // MICROSECOND, "us")
        fold = Fold(
            from_micros(int(cut.astype("int64"))),
            np.flatnonzero(train),
            np.flatnonzero((begins > cut) & (begins <= until)),
        )
        if len(fold.train) and len(fold.validate):
            made.append(fold)
    if len(made) < LEAST_FOLDS:
        raise InvalidInput(
            "folds.too_few",
            f"{len(at)} rows give {len(made)} folds with labels known in time on both sides",
            remedy="Wait for more labelled rows, or search with fewer folds.",
        )
    return made


def _cuts(begins: Times, folds: Folds) -> Times:
    """The time of the last row before each stretch, and the time of the last row."""
    ordered = np.sort(begins)
    if not len(ordered):
        return ordered
    first = max(int(len(ordered) * (1 - folds.share)), 1)
    places = np.linspace(first, len(ordered), folds.count + 1).astype(int) - 1
    return np.unique(ordered[places])


def _least(times: Times, member: Rows) -> Times:
    found = np.full(int(member.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(found, member, times.astype("datetime64[us]").astype(np.int64))
    return found.astype("datetime64[us]")[member]


def _most(times: Times, member: Rows) -> Times:
    found = np.full(int(member.max(initial=-1)) + 1, np.iinfo(np.int64).min)
    np.maximum.at(found, member, times.astype("datetime64[us]").astype(np.int64))
    return found.astype("datetime64[us]")[member]
