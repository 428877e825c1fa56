"""Exact Shapley values of a sum of trees against a background, from the leaves' conditions.

A leaf counts for a mixture of two rows if each field on its path is met by the row that the field is taken from. So a leaf
pays the fields that only the row meets, and charges those that only the background row meets (interventional Tree SHAP:
Lundberg et al., From local explanations to global understanding with explainable AI for trees, 2020, algorithm 3).
"""

from dataclasses import dataclass
from math import factorial

import numpy as np
import numpy.typing as npt

from loopline.evaluation.shapley import Attribution

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.uint64]

MOST_FIELDS = 64
"""How many different fields may lie on the path to one leaf."""

_MOST_CELLS = 50_000_000


@dataclass(frozen=True)
class Leaves:
    """All leaves of an ensemble; its margin is `base` plus the `value` of every leaf that a row meets.

    Arrays `field` (int64, -1 for none), `low`, `high` (float32) and `missing` (bool) have shape (leaves, conditions): a row meets a
    condition where `low < x <= high`, or where x is NaN and `missing`. Conditions of one leaf are on different fields.
    """

    value: Floats
    field: npt.NDArray[np.int64]
    low: Rows
    high: Rows
    missing: npt.NDArray[np.bool_]
    base: float = 0.0

    def met(self, row: Rows) -> Bits:
        """The conditions that `row` (fields,) meets, as one bit each: uint64 of shape (leaves,)."""
        x = row[self.field]
        met = ((x > self.low) & (x <= self.high)) | (np.isnan(x) & self.missing) | (self.field < 0)
        places = np.uint64(1) << np.arange(self.field.shape[1], dtype=np.uint64)
        bits: Bits = (met * places).sum(axis=1, dtype=np.uint64)
        return bits

    def margins(self, rows: Rows) -> Floats:
        """The margin of each row, (n,)."""
        everything = np.uint64((1 << self.field.shape[1]) - 1)
        return np.array([self.base + float(self.value[self.met(row) == everything].sum()) for row in rows])


class TreeShapley:
    """Explains rows of one ensemble against one background; what does not depend on the row is worked out once."""

    def __init__(self, leaves: Leaves, background: Rows) -> None:
        self._leaves = leaves
        self._conditions = leaves.field.shape[1]
        self._everything = np.uint64((1 << self._conditions) - 1)
        self._met = np.stack([leaves.met(row) for row in background])
        reached = self._met == self._everything
        self.base = leaves.base + float((reached @ leaves.value).mean())
        self._pays, self._charges = _weights(self._conditions)

    def attribute(self, row: Rows) -> Attribution:
        """The exact attribution of the margin of `row`, float32 of shape (fields,)."""
        mine, theirs = self._leaves.met(row)[None, :], self._met
        alive = ((mine | theirs) == self._everything) & (mine != theirs)
        of, leaf = np.nonzero(alive)
        only_mine, only_theirs = mine[0, leaf] & ~theirs[of, leaf], ~mine[0, leaf] & theirs[of, leaf]
        ups, downs = np.bitwise_count(only_mine), np.bitwise_count(only_theirs)
        value = self._leaves.value[leaf] / len(theirs)
        pays, charges = value * self._pays[ups, downs], value * self._charges[ups, downs]
        found = np.zeros(len(row))
        for place in range(self._conditions):
            bit = np.uint64(1 << place)
            share = np.where(only_mine & bit, pays, 0.0) - np.where(only_theirs & bit, charges, 0.0)
            some = share != 0
            found += np.bincount(self._leaves.field[leaf[some], place], weights=share[some], minlength=len(row))
        return Attribution(self.base, tuple(found.tolist()))


def manageable(leaves: int, background: int) -> bool:
    """Whether so many leaves can be held against so many background rows."""
    return leaves * background <= _MOST_CELLS


def _weights(conditions: int) -> tuple[Floats, Floats]:
    """By how many fields only the row meets and how many only the background row: what each of the former gains, and each
    of the latter loses, of the leaf's value.
    """
    pays, charges = np.zeros((conditions + 1,) * 2), np.zeros((conditions + 1,) * 2)
    for up in range(conditions + 1):
        for down in range(conditions + 1 - up):
            if up:
                pays[up, down] = factorial(up - 1) * factorial(down) / factorial(up + down)
            if down:
                charges[up, down] = factorial(up) * factorial(down - 1) / factorial(up + down)
    return pays, charges
