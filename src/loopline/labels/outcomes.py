"""Predictions meet their outcomes: the label of each key, as known at a time."""

from dataclasses import replace
from datetime import datetime

import polars as pl

from loopline.errors import InvalidInput
from loopline.labels.label import Label
from loopline.labels.review.reviewed import Reviewed, with_reviewed

LABEL_KEY = "_label_key"

_NO_CLASS = -1.0
_VERSION = ("_key", "_known_at", "_tombstone", "_event_time")
_SECOND = 1_000_000


def known_labels(
    history: pl.DataFrame, label: Label, *, as_of: datetime, pushed: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The label of each key as known at `as_of`: `_key`, `label` (Float64; never null), `label_known_at` (UTC).

    A label is 0.0 or 1.0, the place of its class, or a finite number, as the label's `values` say.

    `history` holds rows of the label's table, `pushed` those of the table of pushed labels, whose column `label` is one
    already. A correction replaces the label it corrects, a tombstone withdraws it, whichever way either came. A value that is
    a lower bound only is no label. Raises `InvalidInput` for labels of another kind.
    """
    said = _last_said(history, label, as_of, pushed).filter(~pl.col("_bound") & pl.col("label").is_not_null())
    return said.select("_key", "label", "label_known_at")


def _with_pushed(joined: pl.DataFrame, pushed: pl.DataFrame, label: Label, as_of: datetime) -> pl.DataFrame:
    """Whoever pushed a label spoke of this very prediction: it goes before the one that several predictions share."""
    own = _last_said(pushed.clear(), label, as_of, pushed)
    both = joined.join(own, on="_key", how="left", maintain_order="left", suffix="_pushed")
    said = pl.col("label_known_at_pushed").is_not_null()
    columns = [name for name in own.columns if name != "_key"]
    merged = [pl.when(said).then(f"{name}_pushed").otherwise(name).alias(name) for name in columns]
    return both.with_columns(merged).drop(f"{name}_pushed" for name in columns)


def _value(label: Label) -> pl.Expr:
    """The label as a number; a class as its place, and one that was not declared as a place there is not."""
    if label.values != "class":
        return label.expression.cast(pl.Float64)
    text, places = label.expression.cast(pl.String), list(range(len(label.classes)))
    place = text.replace_strict(list(label.classes), places, default=_NO_CLASS, return_dtype=pl.Float64)
    return pl.when(text.is_not_null()).then(place)


def _require_known_values(labels: pl.DataFrame, label: Label) -> None:
    if label.values == "number":
        odd, wanted, remedy = ~pl.col("label").is_finite(), "finite", "Let the label's expression give null there."
    elif label.values == "class":
        wanted = f"of {', '.join(label.classes)}"
        odd, remedy = (
            pl.col("label") == _NO_CLASS,
            "Declare the class, or map it to one that is, in the label's expression.",
        )
    else:
        odd, wanted = ~pl.col("label").is_in([0.0, 1.0]), "true or false"
        remedy = "Let the label's expression give a boolean, or say which kind of model it is for."
    found = labels.filter(odd)
    if found.height:
        raise InvalidInput(
            f"label.not_{label.values}",
            f"{found.height} labels of {label.table} are not {wanted}",
            remedy=remedy,
        )


def outcomes(
    predictions: pl.DataFrame,
    history: pl.DataFrame,
    label: Label,
    *,
    as_of: datetime,
    pushed: pl.DataFrame | None = None,
    reviewed: Reviewed | None = None,
) -> pl.DataFrame:
    """`predictions` with what became of them, joined on `_key`, or on `_label_key` for a label that is read `by` columns; same
    rows, same order.

    `label` is null where it is not known by `as_of`; under `absent="negative"` it is 0.0 once the prediction (`_event_time`) is
    mature. `label_known_at` is when the last was said. `censored` is true where the outcome is known in part: it is at least
    `bound` (null: nothing is known but that it was not seen). `followed` is for how many seconds after its prediction a
    row was followed, at most until it was mature; null where nothing is known.

    A bound of 1 of a label that is 0 or 1 is a 1, and a bound of 0 that was observed until the prediction was mature is a 0.

    Where nothing is told, what reviewers said holds, also before what absence means. With `reviewed` there is a column
    `review_propensity`: with which probability such a row was chosen, null for others.
    """
    named = LABEL_KEY if label.by else "_key"
    asked = history.join(predictions.select(_key=named), on="_key", how="semi", maintain_order="left")
    said = _last_said(asked, label, as_of, None if label.by else pushed)
    joined = predictions.join(said, left_on=named, right_on="_key", how="left", maintain_order="left")
    if label.by and pushed is not None:
        joined = _with_pushed(joined, pushed, label, as_of)
    if reviewed is not None:
        joined = with_reviewed(joined, reviewed)
    due = pl.col("_event_time") <= label.mature_until(as_of)
    silent = pl.col("label").is_null() & ~pl.col("_bound").fill_null(value=False) & due
    length = label.maturity.total_seconds()
    followed = (pl.col("_ended_at") - pl.col("_event_time")).dt.total_microseconds() / _SECOND
    joined = joined.with_columns(
        followed=pl.when(silent)
        .then({"negative": length, "censored": 0.0}.get(label.absent))
        .otherwise(followed.clip(0.0, length)),
        label=pl.when(silent & pl.lit(label.absent == "negative")).then(0.0).otherwise(pl.col("label")),
        _bound=pl.col("_bound").fill_null(value=False) | (silent & pl.lit(label.absent == "censored")),
    )
    known = pl.col("label").eq_missing(1.0) | (pl.col("label").eq_missing(0.0) & (pl.col("followed") >= length))
    censored = pl.col("_bound") & ~(known & pl.lit(label.values == "binary"))
    return joined.with_columns(
        label=pl.when(~censored).then(pl.col("label")),
        censored=censored,
        bound=pl.when(censored).then(pl.col("label")),
        followed=pl.when(censored | pl.col("label").is_not_null()).then(pl.col("followed")),
    ).drop("_bound", "_ended_at")


def _last_said(history: pl.DataFrame, label: Label, as_of: datetime, pushed: pl.DataFrame | None) -> pl.DataFrame:
    """What was last said of each key: `label` (null with a bound: not even that), `_bound`, `_ended_at`, `label_known_at`."""
    if history.is_empty():  # before its first row a table has no columns of its own
        history = history.clear().with_columns(label=pl.lit(None, pl.Float64))
        label = replace(label, expression=pl.col("label"), censored=None)
    bound = pl.lit(value=False) if label.censored is None else label.censored.cast(pl.Boolean).fill_null(value=False)
    value = _value(label).fill_nan(None)
    said = [history.lazy().select(*_VERSION, label=value, _bound=bound)]
    if pushed is not None:
        given = pl.col("label").cast(pl.Float64).fill_nan(None)
        told = pushed.lazy().with_columns(_event_time=pl.col("_known_at"))
        said.append(told.select(*_VERSION, label=given, _bound=pl.lit(value=False)))
    known = pl.concat(said).filter(pl.col("_known_at") <= as_of).sort("_known_at", maintain_order=True)
    latest = known.unique("_key", keep="last", maintain_order=True).filter(~pl.col("_tombstone"))
    found = latest.filter(pl.col("label").is_not_null() | pl.col("_bound")).select(
        "_key", "label", "_bound", label_known_at="_known_at", _ended_at="_event_time"
    )
    labels = found.collect()
    _require_known_values(labels, label)
    return labels
