"""What a label is: where it comes from, when it is due, and what its absence means."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

import polars as pl

from loopline.errors import InvalidInput
from loopline.values import duration

Absence = Literal["unlabelled", "negative"]


@dataclass(frozen=True)
class Label:
    """A label read from a table by the prediction's key.

    `expression` gives true or false (or 0 and 1, or null) from the payload of `table`. A cohort is mature `matures` after its last
    prediction. `absent` says what no row by then means: `"unlabelled"` (the outcome is not known, ever) or `"negative"`.
    """

    table: str
    expression: pl.Expr
    matures: str
    absent: Absence = "unlabelled"

    def __post_init__(self) -> None:
        duration(self.matures)
        if self.absent not in get_args(Absence):
            raise InvalidInput(
                "label.unknown_absence",
                f"absent={self.absent!r} is not known",
                remedy=f"Say one of {', '.join(get_args(Absence))}.",
            )

    @property
    def maturity(self) -> timedelta:
        """How long after the prediction the label is due."""
        return duration(self.matures)

    def mature_until(self, now: datetime) -> datetime:
        """Predictions up to this moment have labels due by `now`."""
        return now - self.maturity

    def describe(self) -> dict[str, str]:
        """As plain values, for plans and pins."""
        return {
            "table": self.table,
            "expression": str(self.expression),
            "matures": self.matures,
            "absent": self.absent,
        }
