"""In which of several slices that overlap something changed: in the one that parts the rows best."""

from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_SURE = 4.0


class Rows(msgspec.Struct, frozen=True):
    """A figure of each row (rows,), and by slice which rows are inside (rows,)."""

    values: Floats
    inside: Mapping[str, Mask]


def clearest(before: Rows, since: Rows) -> dict[str, float] | None:
    """How well each slice parts the rows by how far their mean moved since, in [0, 1] of the slice that does it best: the root of what a
    regression tree gains by that split. None where nothing surely moved.

    Slices overlap: rows of one part of a town are of one district mostly. What a slice shares with another that parts the rows better is the
    other's. Breiman, Friedman, Olshen and Stone, Classification and regression trees, 1984.
    """
    found = {name: _parting(before, since, name) for name in since.inside}
    best = max(found.values(), key=lambda one: one[0], default=(0.0, 1.0))
    if best[0] <= _SURE * best[1]:
        return None
    return {name: gain / best[0] for name, (gain, _) in found.items()}


def _parting(before: Rows, since: Rows, name: str) -> tuple[float, float]:
    """The gain of a slice, and the standard error that chance gives it."""
    share = float(since.inside[name].mean()) if len(since.values) else 0.0
    moved, variance = 0.0, 0.0
    for sign in (True, False):
        now, then = (one.values[one.inside[name] == sign] for one in (since, before))
        if not len(now) or not len(then):
            return 0.0, 1.0
        moved += (1 if sign else -1) * float(now.mean() - then.mean())
        variance += float(now.var() / len(now) + then.var() / len(then))
    weight = np.sqrt(share * (1 - share))
    return float(weight * abs(moved)), float(weight * np.sqrt(variance))
