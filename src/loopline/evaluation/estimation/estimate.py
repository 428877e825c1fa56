"""What is estimated, from what, and when nothing can be said."""

import math
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST_PAST = 500
LEAST_EFFECTIVE = 100.0
PARTS = 10
_TWO_SIDED = 1.959964

BLIND = "Estimated without labels: that equal inputs came to mean something else cannot be seen in it, only in labels."


@dataclass(frozen=True)
class Past:
    """Rows with labels, in the order of time: `outputs` (rows,) or (rows, k) as the model gave them, `labels` (rows,), `blocks` (rows,) whole
    numbers that rise, and `features`, a frame of as many rows, where estimates may look at them. No NaN in outputs and labels.
    """

    outputs: Floats
    labels: Floats
    blocks: Ints
    features: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        rows = len(self.labels)
        told = [len(self.outputs), len(self.blocks), rows if self.features is None else self.features.height]
        if set(told) != {rows} or np.isnan(self.outputs).any() or np.isnan(self.labels).any():
            raise InvalidInput(
                "estimation.rows",
                f"outputs, blocks and features of {told} rows do not go with {rows} labels, or some are missing",
                remedy="Drop the rows without an output or a label first.",
            )

    def __len__(self) -> int:
        """How many rows."""
        return len(self.labels)

    def parts(self) -> Ints:
        """The part of each row (rows,): up to ten stretches of whole blocks."""
        _, member = np.unique(self.blocks, return_inverse=True)
        count = int(member.max()) + 1 if len(member) else 1
        return (member * min(PARTS, count) // count).astype(np.int64)


class EstimatedLoss(msgspec.Struct, frozen=True, kw_only=True):
    """The mean loss that rows are to be expected to have once their labels come.

    `error` is the standard error of the estimate, `sampling` how far the mean of so many rows lies from what was to be expected
    by chance; the bounds hold both, with 95 %: they are for what the labels will show. `baseline` is what the best constant is to
    be expected to lose. `effective` says how many labelled rows are like these. Without a `value` nothing can be said, and `why` tells
    the reason.
    """

    method: str
    rows: int
    value: float | None = None
    error: float = 0.0
    sampling: float = 0.0
    baseline: float | None = None
    effective: float | None = None
    why: str = ""

    @property
    def lower(self) -> float:
        """The lower bound of what labels will show; minus infinity where nothing can be said."""
        return -math.inf if self.value is None else self.value - self._half

    @property
    def upper(self) -> float:
        """The upper bound of what labels will show; infinity where nothing can be said."""
        return math.inf if self.value is None else self.value + self._half

    @property
    def _half(self) -> float:
        return _TWO_SIDED * math.hypot(self.error, self.sampling)


def cannot(method: str, rows: int, why: str, effective: float | None = None) -> EstimatedLoss:
    """No estimate, and the reason."""
    return EstimatedLoss(method=method, rows=rows, why=why, effective=effective)


def too_few(method: str, past: Past, rows: int) -> EstimatedLoss | None:
    """No estimate where there is too little to learn from, or nothing to estimate."""
    if not rows:
        return cannot(method, rows, "There are no rows.")
    if len(past) < LEAST_PAST:
        return cannot(method, rows, f"Only {len(past)} rows have labels; it takes {LEAST_PAST} to learn from.")
    return None


def too_unlike(method: str, rows: int, effective: float) -> EstimatedLoss | None:
    """No estimate where hardly any labelled row is like these."""
    if effective >= LEAST_EFFECTIVE:
        return None
    why = (
        f"The rows are unlike those with labels: only as many as {effective:.0f} of them say something about these. "
        "Label a random sample of them."
    )
    return cannot(method, rows, why, effective)


def jackknife(values: list[float]) -> float:
    """The standard error of an estimate from its values with each part left out in turn; 0 for a single part.

    Quenouille, Notes on bias in estimation, 1956; Tukey, 1958.
    """
    found = np.asarray(values, dtype=np.float64)
    if len(found) < 2:  # noqa: PLR2004 - one part says nothing of spread
        return 0.0
    return float(np.sqrt((len(found) - 1) / len(found) * ((found - found.mean()) ** 2).sum()))
