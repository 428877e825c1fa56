"""Predictions meet their outcomes: the label of each key, as known at a time."""

from dataclasses import replace
from datetime import datetime

import polars as pl

from loopline.errors import InvalidInput
from loopline.labels.label import Label

_VERSION = ("_key", "_known_at", "_tombstone")


def known_labels(
    history: pl.DataFrame, label: Label, *, as_of: datetime, pushed: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The label of each key as known at `as_of`: `_key`, `label` (Float64, 0.0 or 1.0; never null), `label_known_at` (UTC).

    `history` holds rows of the label's table, `pushed` those of the table of pushed labels, whose column `label` is one
    already. A correction replaces the label it corrects, a tombstone withdraws it, whichever way either came. Raises `InvalidInput` for labels that are
    neither 0 nor 1.
    """
    if history.is_empty():  # before its first row a table has no columns of its own
        history = history.clear().with_columns(label=pl.lit(None, pl.Float64))
        label = replace(label, expression=pl.col("label"))
    said = [history.lazy().select(*_VERSION, label=label.expression.cast(pl.Float64))]
    if pushed is not None:
        said.append(pushed.lazy().select(*_VERSION, label=pl.col("label").cast(pl.Float64)))
    known = pl.concat(said).filter(pl.col("_known_at") <= as_of).sort("_known_at", maintain_order=True)
    latest = known.unique("_key", keep="last", maintain_order=True).filter(~pl.col("_tombstone"))
    labels = (
        latest.select("_key", "label", label_known_at="_known_at")
        .filter(pl.col("label").is_not_null() & pl.col("label").is_not_nan())
        .collect()
    )
    odd = labels.filter(~pl.col("label").is_in([0.0, 1.0]))
    if odd.height:
        raise InvalidInput(
            "label.not_binary",
            f"{odd.height} labels of {label.table} are neither true nor false, e.g. {odd['label'][0]} for key {odd['_key'][0]!r}",
            remedy="Let the label's expression give a boolean.",
        )
    return labels


def outcomes(
    predictions: pl.DataFrame,
    history: pl.DataFrame,
    label: Label,
    *,
    as_of: datetime,
    pushed: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """`predictions` with the columns `label` and `label_known_at`, joined on `_key`; same rows, same order.

    Null means unlabelled: nothing known by `as_of`. Under `absent="negative"` that is 0.0 once the prediction
    (`_event_time`) is mature.
    """
    asked = history.join(predictions.select("_key"), on="_key", how="semi", maintain_order="left")
    joined = predictions.join(
        known_labels(asked, label, as_of=as_of, pushed=pushed), on="_key", how="left", maintain_order="left"
    )
    if label.absent == "negative":
        due = pl.col("label").is_null() & (pl.col("_event_time") <= label.mature_until(as_of))
        joined = joined.with_columns(label=pl.when(due).then(0.0).otherwise(pl.col("label")))
    return joined
