"""Which action was taken on a row in the past, and with which probability it was chosen."""

from dataclasses import dataclass

import polars as pl

from loopline.errors import InvalidInput

LOGGED = ("action", "propensity")


@dataclass(frozen=True)
class ActionLog:
    """Expressions over the rows of the label's table: the action's name, and the probability with which it was chosen.

    A row is needed for every action, also where no outcome followed; its label is null then. With `weigh_training` a training row
    weighs the inverse of the propensity, which undoes that some rows were likelier to get a label.
    """

    action: pl.Expr
    propensity: pl.Expr
    weigh_training: bool = False

    def describe(self) -> dict[str, str | bool]:
        """As plain values."""
        return {
            "action": str(self.action),
            "propensity": str(self.propensity),
            "weigh_training": self.weigh_training,
        }


def known_actions(history: pl.DataFrame, log: ActionLog) -> pl.DataFrame:
    """The action of each key, as last told: `_key`, `action` (text), `propensity` (Float64); rows without both are left out.

    Raises `InvalidInput` "label.propensity" for a probability outside of (0, 1].
    """
    if history.is_empty():
        return pl.DataFrame(schema={"_key": pl.String(), "action": pl.String(), "propensity": pl.Float64()})
    told = history.sort("_known_at", maintain_order=True).select(
        "_key", "_tombstone", action=log.action.cast(pl.String), propensity=log.propensity.cast(pl.Float64)
    )
    latest = told.unique("_key", keep="last", maintain_order=True).filter(~pl.col("_tombstone")).drop("_tombstone")
    known = latest.filter(pl.col("action").is_not_null() & pl.col("propensity").fill_nan(None).is_not_null())
    odd = known.filter((pl.col("propensity") <= 0) | (pl.col("propensity") > 1))
    if odd.height:
        raise InvalidInput(
            "label.propensity",
            f"key {odd['_key'][0]!r} has the propensity {odd['propensity'][0]}, which no action that was taken can have",
            remedy="Log the probability, above 0 and at most 1, with which the action was chosen when it was chosen.",
        )
    return known
