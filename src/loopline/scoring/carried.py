"""What goes along with a prediction and is no feature: a ranking's group and position, a forecast's target, its label's key."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.models.manifest import Deployment
from loopline.scoring.columns import Columns, as_list
from loopline.scoring.times import moments
from loopline.tables.source import key_text

GROUP, TARGET, LABEL_KEY = "_group", "_target_time", "_label_key"

_TIME = pl.Datetime("us", "UTC")
_MICROSECONDS = 1_000_000


def carried_columns(deployment: Deployment) -> frozenset[str]:
    """The columns of a request that are carried."""
    return frozenset(name for name in (deployment.group, deployment.target, *deployment.label_by) if name is not None)


def carried_expressions(deployment: Deployment) -> list[pl.Expr]:
    """`_group`, `_target_time` and `_label_key` of rows that hold the carried columns, as far as the deployment has them."""
    made = []
    if deployment.group is not None:
        made.append(pl.col(deployment.group).cast(pl.String).alias(GROUP))
    if deployment.target is not None:
        made.append(pl.col(deployment.target).alias(TARGET))
    if deployment.label_by:
        made.append(key_text(deployment.label_by).alias(LABEL_KEY))
    return made


def carry(deployment: Deployment, given: Columns, times: Sequence[datetime]) -> pl.DataFrame | None:
    """`_group`, `_target_time` and `_label_key` of a request's rows, as far as the deployment has them; None where it has none.

    Raises `InvalidInput` "scoring.bad_time" for a target that is no time.
    """
    made = carried_expressions(deployment)
    if not made:
        return None
    names = sorted(carried_columns(deployment))
    return pl.DataFrame({name: _column(name, deployment, given, times) for name in names}).select(made)


def _column(name: str, deployment: Deployment, given: Columns, times: Sequence[datetime]) -> pl.Series:
    if name == deployment.at:
        return pl.Series(name, times, dtype=_TIME)
    values = as_list(given[name])
    if name == deployment.target:
        return pl.Series(name, moments(values, name), dtype=_TIME)
    try:
        return pl.Series(name, values)
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise InvalidInput(
            "scoring.mixed_values",
            f"the values of {name!r} are not of one type",
            remedy=f"Send {name!r} as text, or as whole numbers, in every row.",
            column=name,
        ) from error


def recorded(carried: pl.DataFrame, times: pl.Series, scores: npt.NDArray[np.float64]) -> dict[str, pl.Series]:
    """The columns of the prediction record that follow: `group`, `position` (from 1, the highest score first), `target_time`,
    `horizon_s`, `label_key`.
    """
    found: dict[str, pl.Series] = {}
    if GROUP in carried.columns:
        found["group"] = carried[GROUP]
        ranked = carried.select(GROUP, score=pl.Series(scores))
        position = pl.col("score").rank("ordinal", descending=True).over(GROUP).cast(pl.Int64)
        found["position"] = ranked.select(position)["score"]
    if TARGET in carried.columns:
        found["target_time"] = carried[TARGET]
        found["horizon_s"] = (carried[TARGET] - times).dt.total_microseconds() / _MICROSECONDS
    if LABEL_KEY in carried.columns:
        found["label_key"] = carried[LABEL_KEY]
    return found
