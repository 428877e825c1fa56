"""Training sets: rows as known at their time, features point in time, labels as known now. Pinned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.evaluation.kind import BINARY, Output
from loopline.features.definitions import View, feature_names, payload_columns
from loopline.features.point_in_time import point_in_time
from loopline.labels.censoring import weighed
from loopline.labels.label import Label
from loopline.labels.outcomes import LABEL_KEY, outcomes
from loopline.labels.review.reviewed import Reviewed, carrying
from loopline.models.signature import Signature
from loopline.tables.source import key_text
from loopline.training.groups import Named, with_groups
from loopline.training.subjects import known_at_their_time
from loopline.values import EPOCH

GROUP, TARGET = "_group", "_target_time"
_MARKS = ("weight", "censored")


@dataclass(frozen=True)
class Recipe:
    """What a training set is made of: the subjects' table and time column, given columns, views and label.

    `output` says what the model gives back, `group` names the column of a ranking's group, `target` that of the time a forecast is
    for, `told_by` what groups rows are judged by.
    """

    table: str
    at: str
    given: tuple[str, ...]
    categories: tuple[str, ...]
    views: tuple[View, ...]
    label: Label
    output: Output = BINARY
    group: str | None = None
    target: str | None = None
    told_by: tuple[Named, ...] = ()

    @property
    def carried(self) -> dict[str, pl.Expr]:
        """What goes along with a row and is no feature: the key of its label, its group, the time it is for."""
        found = {}
        if self.label.by:
            found[LABEL_KEY] = key_text(self.label.by)
        if self.group is not None:
            found[GROUP] = pl.col(self.group).cast(pl.String)
        if self.target is not None:
            found[TARGET] = pl.col(self.target).dt.convert_time_zone("UTC").dt.cast_time_unit("us")
        return found

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

    `X` float32 (rows, features): categories as codes ordered by mean label, missing values NaN. `y` float64 (rows,): 0.0 or
    1.0, the place of the class in `classes`, a number or a grade. Rows are in order of time; those of a ranking's group stand
    together, and `group_sizes` counts them in order, as LightGBM and XGBoost want them. `at` is datetime64[us], UTC. `levels`
    are those of a quantile forecast. `seed` is this fit's own.

    `weight` float64 (rows,) undoes that some rows were likelier to get a label than others, where labels are censored, selected or reviewers';
    ones elsewhere. `censored` bool (rows,): `y` is only a lower bound, and the row weighs 0; false everywhere unless the label
    keeps such rows.
    """

    X: npt.NDArray[np.float32]
    y: npt.NDArray[np.float64]
    at: npt.NDArray[np.datetime64]
    feature_names: tuple[str, ...]
    categorical: tuple[bool, ...]
    seed: int
    weight: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    censored: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    output: Output = BINARY
    groups: npt.NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if not len(self.weight):
            object.__setattr__(self, "weight", np.ones(len(self.y)))
        if not len(self.censored):
            object.__setattr__(self, "censored", np.zeros(len(self.y), dtype=np.bool_))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of a model of several."""
        return self.output.classes

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels of a quantile forecast."""
        return self.output.levels

    @property
    def group_sizes(self) -> npt.NDArray[np.int64]:
        """How many rows each group has, in the order of the rows."""
        if self.groups is None:
            return np.array([len(self)])
        starts = np.flatnonzero(np.r_[True, self.groups[1:] != self.groups[:-1]])
        sizes: npt.NDArray[np.int64] = np.diff(np.r_[starts, len(self)])
        return sizes

    def __len__(self) -> int:
        return len(self.y)

    def part(self, rows: npt.NDArray[np.bool_] | slice, seed: int) -> "TrainingSet":
        """Some of the rows, for a fit with a seed of its own."""
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            at=self.at[rows],
            weight=self.weight[rows],
            censored=self.censored[rows],
            groups=None if self.groups is None else self.groups[rows],
            seed=seed,
        )


@dataclass(frozen=True)
class LabelledRows:
    """Labelled rows with their features, in order of time, and the pins that would make them again.

    `frame`: `_key`, `_event_time` (the row's time), `label`, `_label_known_at` (when that label became known; where absence is
    the label, when it was due), what the recipe carries, one column for each feature, and perhaps `_weight` and `_censored` (1.0 and false without).
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
        """The rows before the last `length` of labelled time, and those in it whose label is known."""
        newest = self.frame["_event_time"].max()
        cut = newest - length if isinstance(newest, datetime) else EPOCH
        later = self.after(cut)
        if "_censored" not in later.frame.columns:
            return self.up_to(cut), later
        return self.up_to(cut), replace(later, frame=later.frame.filter(~pl.col("_censored")))

    def training_set(self, signature: Signature, seed: int) -> TrainingSet:
        """Encoded for fitting."""
        return TrainingSet(
            X=signature.encode(self.frame),
            y=self.frame["label"].to_numpy(),
            at=self.frame["_event_time"].dt.replace_time_zone(None).to_numpy(),
            feature_names=signature.names,
            categorical=tuple(found.kind == "category" for found in signature.fields),
            seed=seed,
            output=signature.output,
            groups=self.frame[GROUP].to_numpy() if GROUP in self.frame.columns else None,
            **{name: self.frame[f"_{name}"].to_numpy() for name in _MARKS if f"_{name}" in self.frame.columns},
        )


def features_of(rows: pl.DataFrame, recipe: Recipe, history: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """`_key`, `_event_time` and the features of each of `rows`, same order; categories are text, whatever they came as.

    Raises `InvalidInput` for an unknown column.
    """
    also = [name for name in (recipe.group, recipe.target, *recipe.label.by) if name is not None]
    missing = [name for name in (*recipe.given, *also) if name not in rows.columns]
    if missing:
        raise InvalidInput(
            "model.unknown_column",
            f"{recipe.table} has no column {', '.join(missing)}",
            remedy=f"Its columns are: {', '.join(name for name in rows.columns if not name.startswith('_'))}.",
        )
    typed = [pl.col(name).cast(pl.String) if name in recipe.categories else name for name in recipe.given]
    carried = [expression.alias(name) for name, expression in recipe.carried.items()]
    given = rows.select("_key", pl.col(recipe.at).alias("_event_time"), *carried, *typed)
    if not recipe.views:
        return given
    whole = {table: with_view_columns(past, recipe.views, table) for table, past in history.items()}
    return pl.concat([given, point_in_time(rows, at=recipe.at, views=recipe.views, history=whole)], how="horizontal")


def with_view_columns(history: pl.DataFrame, views: Sequence[View], table: str) -> pl.DataFrame:
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
    actions: pl.DataFrame | None = None,
    leave_out: Sequence[tuple[datetime, datetime]] = (),
    reviewed: Reviewed | None = None,
) -> LabelledRows:
    """All rows whose labels are due and known by `as_of`, with features as they were known at each row's time.

    `history` holds every table of the recipe; what was not known by `as_of` is ignored. `actions` (`_key`, `propensity`) are those logged;
    with them a row weighs the inverse of its propensity too, and one without weighs 1. Rows in any of the spans (start,
    end] of `leave_out` are skipped. Labels of reviewers (`reviewed`) are taken where no other is known, weighing what they stand for; the pin `reviews`
    says how far they carry. Raises `InvalidInput` where no labelled row is left, and "review.no_overlap" as `carrying` does.
    """
    known = {name: frame.filter(pl.col("_known_at") <= as_of) for name, frame in history.items()}
    if known[recipe.table].is_empty():
        raise _no_rows(recipe, as_of)
    subjects = known_at_their_time(known[recipe.table], at=recipe.at)
    subjects = subjects.filter(pl.col(recipe.at) <= recipe.label.mature_until(as_of))
    for start, end in leave_out:
        subjects = subjects.filter(~((pl.col(recipe.at) > start) & (pl.col(recipe.at) <= end)))
    frame = with_groups(features_of(subjects, recipe, known), subjects, recipe.told_by)
    keys = frame.select("_key", "_event_time", *recipe.carried)
    history_of_label = known[recipe.label.table]
    told = outcomes(keys, history_of_label, recipe.label, as_of=as_of, pushed=pushed, reviewed=reviewed)
    told = weighed(told, recipe.label, reviewed)
    frame = frame.with_columns(_kept(told, recipe.label, actions, weighs=reviewed is not None))
    frame = _together(frame.filter(pl.col("label").is_not_null()))
    if frame.height == 0 or ("_censored" in frame.columns and frame["_censored"].all()):
        raise _no_rows(recipe, as_of)
    pins = {"as_of": as_of, "rows": frame.height, "subjects": subjects.height, "label": recipe.label.describe()}
    if reviewed is not None:
        pins["reviews"] = carrying(told, recipe.label, reviewed)
    pins["leave_out"] = [[start, end] for start, end in leave_out]
    return LabelledRows(frame, recipe, pins)


def _kept(told: pl.DataFrame, label: Label, actions: pl.DataFrame | None, *, weighs: bool) -> pl.DataFrame:
    """`label`, `_label_known_at` and, where they can differ, `_weight` and `_censored`: a bound is a label only where it is asked for."""
    if actions is not None:
        chosen = told.join(actions.select("_key", "propensity"), on="_key", how="left", maintain_order="left")
        told = told.with_columns(weight=told["weight"] / chosen["propensity"].fill_null(1.0))
    due = pl.col("_event_time") + label.maturity
    known = pl.coalesce("label_known_at", due).alias("_label_known_at")
    if actions is None and not label.censors and not weighs:
        return told.select("label", known)
    value = pl.coalesce("label", "bound") if label.keep_censored else pl.col("label")
    return told.select(known, label=value, _weight="weight", _censored="censored")


def _together(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of a group next to one another, groups in the order of their first row."""
    if GROUP not in frame.columns:
        return frame
    return frame.sort(pl.col("_event_time").min().over(GROUP), GROUP, maintain_order=True)


def _no_rows(recipe: Recipe, as_of: datetime) -> InvalidInput:
    return InvalidInput(
        "training.no_rows",
        f"no row of {recipe.table} has a label that was due by {as_of.isoformat()}",
        remedy="Wait until labels mature, or check the label's table and key.",
    )
