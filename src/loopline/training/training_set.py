"""Training sets: rows as known at their time, features point in time, labels as known now. Pinned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.features.definitions import View, feature_names, payload_columns
from loopline.features.point_in_time import point_in_time
from loopline.labels.label import Label
from loopline.labels.outcomes import outcomes
from loopline.models.signature import Signature
from loopline.training.subjects import known_at_their_time
from loopline.values import EPOCH


@dataclass(frozen=True)
class Recipe:
    """What a training set is made of: the subjects' table and time column, given columns, views and label."""

    table: str
    at: str
    given: tuple[str, ...]
    categories: tuple[str, ...]
    views: tuple[View, ...]
    label: Label

    @property
    def feature_names(self) -> tuple[str, ...]:
        """All features in order: given columns, then those of the views."""
        return (*self.given, *(name for view in self.views for name in feature_names(view)))

    @property
    def tables(self) -> tuple[str, ...]:
        """Every table it reads, without doubles."""
        return tuple(dict.fromkeys([self.table, self.label.table, *(view.table for view in self.views)]))


@dataclass(frozen=True)
class TrainingSet:
    """What a model's function is given to fit.

    `X` float32 (rows, features): categories as codes ordered by mean label, missing values NaN. `y` float64 (rows,), 0.0 or
    1.0. Rows are in order of time. `at` is datetime64[us], UTC. `seed` is this fit's own.
    """

    X: npt.NDArray[np.float32]
    y: npt.NDArray[np.float64]
    at: npt.NDArray[np.datetime64]
    feature_names: tuple[str, ...]
    categorical: tuple[bool, ...]
    seed: int

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class LabelledRows:
    """Labelled rows with their features, in order of time, and the pins that would make them again.

    `frame`: `_key`, `_event_time` (the row's time), `label`, and one column for each feature.
    """

    frame: pl.DataFrame
    recipe: Recipe
    pins: dict[str, Any] = field(default_factory=dict)

    def up_to(self, moment: datetime) -> "LabelledRows":
        """The rows at or before `moment`."""
        return LabelledRows(self.frame.filter(pl.col("_event_time") <= moment), self.recipe, self.pins)

    def after(self, moment: datetime) -> "LabelledRows":
        """The rows after `moment`."""
        return LabelledRows(self.frame.filter(pl.col("_event_time") > moment), self.recipe, self.pins)

    def hold_out(self, length: timedelta) -> tuple["LabelledRows", "LabelledRows"]:
        """The rows before the last `length` of labelled time, and those in it."""
        newest = self.frame["_event_time"].max()
        cut = newest - length if isinstance(newest, datetime) else EPOCH
        return self.up_to(cut), self.after(cut)

    def training_set(self, signature: Signature, seed: int) -> TrainingSet:
        """Encoded for fitting."""
        return TrainingSet(
            X=signature.encode(self.frame),
            y=self.frame["label"].to_numpy(),
            at=self.frame["_event_time"].dt.replace_time_zone(None).to_numpy(),
            feature_names=signature.names,
            categorical=tuple(found.kind == "category" for found in signature.fields),
            seed=seed,
        )


def features_of(rows: pl.DataFrame, recipe: Recipe, history: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """`_key`, `_event_time` and the features of each of `rows`, same order; categories are text, whatever they came as.

    Raises `InvalidInput` for an unknown column.
    """
    missing = [name for name in recipe.given if name not in rows.columns]
    if missing:
        raise InvalidInput(
            "model.unknown_column",
            f"{recipe.table} has no column {', '.join(missing)}",
            remedy=f"Its columns are: {', '.join(name for name in rows.columns if not name.startswith('_'))}.",
        )
    typed = [pl.col(name).cast(pl.String) if name in recipe.categories else name for name in recipe.given]
    given = rows.select("_key", pl.col(recipe.at).alias("_event_time"), *typed)
    if not recipe.views:
        return given
    whole = {table: _with_columns(past, recipe.views, table) for table, past in history.items()}
    return pl.concat([given, point_in_time(rows, at=recipe.at, views=recipe.views, history=whole)], how="horizontal")


def _with_columns(history: pl.DataFrame, views: Sequence[View], table: str) -> pl.DataFrame:
    """Before its first row a table has no columns of its own; then there is nothing in those the views ask for."""
    if history.height:
        return history
    entities = {view.by: pl.String() for view in views if view.table == table}
    payload = {name: pl.Float64() for view in views if view.table == table for name in payload_columns(view)}
    absent = {name: dtype for name, dtype in (payload | entities).items() if name not in history.columns}
    return history.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in absent.items())


def assemble(
    recipe: Recipe,
    history: Mapping[str, pl.DataFrame],
    *,
    as_of: datetime,
    pushed: pl.DataFrame | None = None,
    leave_out: Sequence[tuple[datetime, datetime]] = (),
) -> LabelledRows:
    """All rows whose labels are due and known by `as_of`, with features as they were known at each row's time.

    `history` holds every table of the recipe; what was not known by `as_of` is ignored. Rows in any of the spans (start,
    end] of `leave_out` are skipped. Raises `InvalidInput` where no labelled row is left.
    """
    known = {name: frame.filter(pl.col("_known_at") <= as_of) for name, frame in history.items()}
    if known[recipe.table].is_empty():
        raise _no_rows(recipe, as_of)
    subjects = known_at_their_time(known[recipe.table], at=recipe.at)
    subjects = subjects.filter(pl.col(recipe.at) <= recipe.label.mature_until(as_of))
    for start, end in leave_out:
        subjects = subjects.filter(~((pl.col(recipe.at) > start) & (pl.col(recipe.at) <= end)))
    keys = subjects.select("_key", pl.col(recipe.at).alias("_event_time"))
    labels = outcomes(keys, known[recipe.label.table], recipe.label, as_of=as_of, pushed=pushed)["label"]
    frame = features_of(subjects, recipe, known).with_columns(label=labels)
    frame = frame.filter(pl.col("label").is_not_null())
    if frame.height == 0:
        raise _no_rows(recipe, as_of)
    pins = {"as_of": as_of, "rows": frame.height, "subjects": subjects.height, "label": recipe.label.describe()}
    return LabelledRows(frame, recipe, pins)


def _no_rows(recipe: Recipe, as_of: datetime) -> InvalidInput:
    return InvalidInput(
        "training.no_rows",
        f"no row of {recipe.table} has a label that was due by {as_of.isoformat()}",
        remedy="Wait until labels mature, or check the label's table and key.",
    )
