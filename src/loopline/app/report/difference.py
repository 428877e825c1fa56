"""What a policy's loss or cost is more than the loop's, with its interval."""

import math
from dataclasses import dataclass
from typing import Any

from loopline.loop.compare import PolicyResult


@dataclass(frozen=True)
class Difference:
    """The mean over rows of the policy minus the loop, its bounds and its standard error; bounds may be infinite."""

    mean: float
    lower: float
    upper: float
    error: float

    @property
    def bounded(self) -> bool:
        """Whether the interval says anything."""
        return math.isfinite(self.lower) and math.isfinite(self.upper)

    @property
    def verdict(self) -> str:
        """How the policy compares with the loop, where less is better."""
        if self.lower > 0:
            return "worse"
        if self.upper < 0:
            return "better"
        return "same" if self.lower == self.upper == 0 else "no clear difference"

    def scaled(self, factor: float) -> "Difference":
        """In a unit `factor` times as fine."""
        return Difference(self.mean * factor, self.lower * factor, self.upper * factor, self.error * factor)


def difference(result: PolicyResult, figure: str) -> Difference | None:
    """The difference of `loss` or `cost`; None for the loop itself and where no row is in common."""
    found: dict[str, Any] | None = (result.against_loop or {}).get(figure)
    if found is None or found["mean"] is None:
        return None
    return Difference(
        found["mean"], _or(found["lower"], -math.inf), _or(found["upper"], math.inf), _or(found["error"], math.inf)
    )


def _or(value: float | None, unknown: float) -> float:
    """JSON has no infinity: a bound that went through it comes back as None."""
    return unknown if value is None else value
