"""How long a model takes for so many rows, learned from its calls: what batching and back-pressure go by."""

from collections.abc import Callable
from time import perf_counter

import numpy as np
import numpy.typing as npt

_WEIGHT = 0.1
_PROBES = 5
_ROWS = 64
_LEAST = 1e-9


class Pace:
    """A call costs `fixed` seconds and `each` a row. Used by one thread at a time."""

    def __init__(self, fixed: float = 0.0, each: float = 0.0) -> None:
        self.fixed = fixed
        self.each = each

    @classmethod
    def measured(cls, outputs: Callable[[npt.NDArray[np.float32]], object], fields: int) -> "Pace":
        """The pace of a model, from a few calls with zeros of one row and of 64."""
        one, many = (_fastest(outputs, rows, fields) for rows in (1, _ROWS))
        each = max(0.0, (many - one) / (_ROWS - 1))
        return cls(max(0.0, one - each), each)

    def seconds(self, rows: int) -> float:
        """What a call with so many rows takes."""
        return self.fixed + self.each * rows

    def rows_within(self, seconds: float) -> int:
        """How many rows a call may have to end within `seconds`; one at least."""
        return max(1, int((seconds - self.fixed) / max(self.each, _LEAST))) if seconds > self.fixed else 1

    def note(self, rows: int, seconds: float) -> None:
        """Learn from a call: what it took beyond what was due is put down to both parts by their shares."""
        due = max(self.seconds(rows), _LEAST)
        scale = 1 + _WEIGHT * (seconds / due - 1)
        self.fixed, self.each = self.fixed * scale, self.each * scale


def _fastest(outputs: Callable[[npt.NDArray[np.float32]], object], rows: int, fields: int) -> float:
    matrix = np.zeros((rows, fields), dtype=np.float32)
    found = []
    for _ in range(_PROBES):
        began = perf_counter()
        outputs(matrix)
        found.append(perf_counter() - began)
    return min(found)
