"""What known labels weigh where others are censored: the inverse of the probability of being followed so long."""

import polars as pl

from loopline.evaluation.censoring import censoring_weights
from loopline.labels.label import Label
from loopline.labels.review.reviewed import Reviewed, weigh_reviewed


def weighed(outcomes: pl.DataFrame, label: Label, reviewed: Reviewed | None = None) -> pl.DataFrame:
    """`outcomes` with the column `weight`: what known labels weigh where others are censored, and where reviewers gave some."""
    found = _weighed(outcomes, label)
    return found if reviewed is None else weigh_reviewed(found, label, reviewed)


def _weighed(outcomes: pl.DataFrame, label: Label) -> pl.DataFrame:
    """`outcomes` with the column `weight` (Float64): 0.0 where the label is not known.

    Where rows are censored in time, a known row weighs the inverse of the probability that a row of this frame is
    followed for as long (Kaplan-Meier of the censoring; see `evaluation.censoring`); else 1.0. Rows that are
    unlabelled, for whatever reason, are no part of it. A number is not censored in time but by its own size, and no weight
    of the known ones makes up for that.
    """
    part = outcomes.with_row_index("_row").filter(pl.col("censored") | pl.col("label").is_not_null())
    if label.values == "number" or not part["censored"].any():
        return outcomes.with_columns(weight=pl.col("label").is_not_null().cast(pl.Float64))
    weights = censoring_weights(part["followed"].to_numpy(), part["censored"].to_numpy())
    found = part.select("_row", weight=pl.Series(weights, dtype=pl.Float64))
    joined = outcomes.with_row_index("_row").join(found, on="_row", how="left", maintain_order="left")
    return joined.with_columns(pl.col("weight").fill_null(0.0)).drop("_row")
