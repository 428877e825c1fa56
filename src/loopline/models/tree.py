"""One decision tree as arrays: where it splits, where missing values go, what its leaves hold."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Tree:
    """One tree; every array has one entry per node, children are given by their place, the root is at 0.

    A float32 value goes left where `value <= threshold` (float64), NaN where `missing_left`. At a leaf all but `leaf` is
    without meaning. `value`, where it is known, is what a leaf adds to the sum of all trees: float64 of shape (nodes, width), the
    numbers of the outputs from `target` on; at a split it is without meaning.
    """

    feature: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float64]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    missing_left: npt.NDArray[np.bool_]
    leaf: npt.NDArray[np.bool_]
    value: npt.NDArray[np.float64] | None = None
    target: int = 0

    def float32_threshold(self) -> npt.NDArray[np.float32]:
        """The greatest float32 not above each threshold: it splits float32 values exactly as the threshold does."""
        with np.errstate(over="ignore"):  # beyond the largest float32 it is infinite, and brought back below
            near = self.threshold.astype(np.float32)
        return np.where(near > self.threshold, np.nextafter(near, np.float32(-np.inf)), near)


def lone_leaf(value: npt.NDArray[np.float64], target: int = 0) -> Tree:
    """A tree that does not split: its leaf adds `value` (width,) to every row."""
    nothing = np.zeros(1, dtype=np.int64)
    no, yes = np.zeros(1, dtype=np.bool_), np.ones(1, dtype=np.bool_)
    return Tree(nothing, np.zeros(1), nothing, nothing, no, yes, value.reshape(1, -1), target)
