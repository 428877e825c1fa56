"""Labels as a loop file declares them."""

from collections.abc import Sequence

import polars as pl

from loopline.labels.action_log import ActionLog
from loopline.labels.label import Absence, Label
from loopline.loop.mistake import blaming_caller
from loopline.loop.source import Source


def label(
    source: Source,
    expression: pl.Expr,
    *,
    matures: str,
    absent: Absence = "unlabelled",
    classes: Sequence[str] = (),
    by: str | Sequence[str] = (),
    censored: pl.Expr | None = None,
    keep_censored: bool = False,
    outcome_depends_on_action: bool = False,
    observed_after: str | None = None,
    logged: ActionLog | None = None,
) -> Label:
    """The label of a prediction: `expression` over the row of `source` that has the prediction's key.

    Or that whose key the columns `by` of the predicted row name: a forecast's label has the key of what it forecasts. `classes`
    are what the expression gives for a model of several classes.

    See `loopline.labels.label.Label` for what absence, censoring and actions mean.
    """
    with blaming_caller():
        return Label(
            source.table,
            expression,
            matures,
            absent,
            censored,
            keep_censored,
            outcome_depends_on_action,
            observed_after,
            logged,
            tuple(classes),
            (by,) if isinstance(by, str) else tuple(by),
        )


def logged(*, action: pl.Expr, propensity: pl.Expr, weigh_training: bool = False) -> ActionLog:
    """Where the label's source says which action was taken on a row and how probable that was when it was chosen."""
    return ActionLog(action, propensity, weigh_training)
