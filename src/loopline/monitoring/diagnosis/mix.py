"""Traffic of another kind: how much of a rise comes from which rows there are rather than from what happens to each."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_LEAST_MOVE = 0.05


@dataclass(frozen=True)
class Mix:
    """A column whose slices have other shares of the rows: `effect` is by how much that alone moves the mean loss; `slice` grew from `before`
    to `after`.
    """

    column: str
    effect: float
    slice: str
    before: float
    after: float


def traffic_mix(
    names: Mapping[str, list[str]], rows: Mapping[str, tuple[Floats, Floats]], loss: Mapping[str, Floats]
) -> list[Mix]:
    """The columns by which the mix alone raises the loss, the most first.

    `rows` holds for each column the rows of each slice before and since, `loss` the mean loss of each slice before. Kitagawa, Components of a
    difference between two rates, 1955, with the rates of before.
    """
    found = []
    for column, (before, since) in rows.items():
        if not before.sum() or not since.sum():
            continue
        p, q = before / before.sum(), since / since.sum()
        effect = float(((q - p) * loss[column]).sum())
        most = int(np.argmax(q - p))
        if q[most] - p[most] >= _LEAST_MOVE:
            found.append(Mix(column, effect, names[column][most], float(p[most]), float(q[most])))
    return sorted(found, key=lambda one: -one.effect)
