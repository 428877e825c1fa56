"""What a label is: where it comes from, when it is due, what its absence means, and what it owes to the action taken."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import polars as pl

from loopline.errors import InvalidInput
from loopline.labels.action_log import ActionLog
from loopline.values import duration

Absence = Literal["unlabelled", "negative", "censored"]
Values = Literal["binary", "class", "number"]


@dataclass(frozen=True)
class Label:
    """A label read from a table by the prediction's key, or by the columns `by` of the row that is predicted for.

    `expression` gives, from the payload of `table`, true or false (or 0 and 1), where `values` is `"binary"`; one of `classes`,
    where it is `"class"`; or a number; or null. A cohort is mature `matures` after its last
    prediction. `absent` says what no row by then means: `"unlabelled"` (the outcome is not known, ever), `"negative"`, or
    `"censored"` (it had not happened when observation ended, and that is all). `censored` is an expression over the same row that is true where
    the value is only a lower bound: what was sold on a day that sold out, a customer who left before the thirty days were over. With
    `keep_censored` such rows of a numeric label stay in training sets, marked.

    `outcome_depends_on_action` says that another action would have had another outcome; `observed_after` names the one
    action after which the outcome is seen at all (a loan that was granted). `logged` tells which action was taken, and how probably.
    """

    table: str
    expression: pl.Expr
    matures: str
    absent: Absence = "unlabelled"
    censored: pl.Expr | None = None
    keep_censored: bool = False
    outcome_depends_on_action: bool = False
    observed_after: str | None = None
    logged: ActionLog | None = None
    classes: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    values: Values = "binary"

    def __post_init__(self) -> None:
        duration(self.matures)
        if self.absent not in get_args(Absence):
            raise InvalidInput(
                "label.unknown_absence",
                f"absent={self.absent!r} is not known",
                remedy=f"Say one of {', '.join(get_args(Absence))}.",
            )
        if self.logged is not None and not self.depends_on_action:
            raise InvalidInput(
                "label.log_without_dependence",
                "a log of actions was given, but the label is not said to depend on them",
                remedy="Say outcome_depends_on_action=True, or observed_after=ACTION for an outcome seen after that action only.",
            )

    @property
    def maturity(self) -> timedelta:
        """How long after the prediction the label is due."""
        return duration(self.matures)

    @property
    def censors(self) -> bool:
        """Whether an outcome may be known in part only."""
        return self.absent == "censored" or self.censored is not None

    @property
    def depends_on_action(self) -> bool:
        """Whether the outcome, or seeing it, depends on the action that was taken."""
        return self.outcome_depends_on_action or self.observed_after is not None

    def mature_until(self, now: datetime) -> datetime:
        """Predictions up to this moment have labels due by `now`."""
        return now - self.maturity

    def describe(self) -> dict[str, Any]:
        """As plain values, for plans and pins. What a label does not use is left out."""
        said: dict[str, Any] = {
            "table": self.table,
            "expression": str(self.expression),
            "matures": self.matures,
            "absent": self.absent,
            **({"classes": list(self.classes)} if self.classes else {}),
            **({"by": list(self.by)} if self.by else {}),
            **({"values": self.values} if self.values != "binary" else {}),
        }
        also = {
            "censored": None if self.censored is None else str(self.censored),
            "keep_censored": self.keep_censored,
            "outcome_depends_on_action": self.outcome_depends_on_action,
            "observed_after": self.observed_after,
            "logged": self.logged.describe() if self.logged else None,
        }
        return said | {name: value for name, value in also.items() if value}
