"""The rows of a training: as the tables hold them now, or as they were pinned."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from loopline.labels.action_log import known_actions
from loopline.labels.intake import label_table
from loopline.labels.review.reviewed import Reviewed
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.pushed_labels import pushed_labels
from loopline.loop.resources import Resources
from loopline.loop.review import reviewed_of
from loopline.training.training_set import LabelledRows, Recipe, assemble
from loopline.values import duration


def training_rows(
    resources: Resources, lane: Lane, history: History, as_of: datetime
) -> tuple[LabelledRows, LabelledRows]:
    """The labelled rows known at `as_of`: those to train on, and those held out for the gates. Raises as `assemble`."""
    frames = history.all_known(lane.recipe.tables, as_of)
    pushed, reviewed = pushed_labels(resources, lane, as_of), reviewed_of(resources, lane, as_of)
    return _assembled(lane.recipe, frames, pushed, as_of, reviewed=reviewed).hold_out(
        duration(lane.operation.model.holdout)
    )


def pinned_rows(
    resources: Resources,
    lane: Lane,
    recipe: Recipe,
    *,
    versions: Mapping[str, int],
    as_of: datetime,
    holdout: str,
    leave_out: Sequence[tuple[datetime, datetime]] = (),
) -> tuple[LabelledRows, LabelledRows]:
    """The same, of the tables as they were at `versions`; of one that is not named, as it is now.

    Pushed labels are read if their table is named, or none is. Raises as `assemble`, and `NotFound` for a version that is gone.
    """
    pushed, named = label_table(lane.project, lane.model), recipe.tables
    frames = {
        name: resources.tables.open(name).read(version=versions.get(name), known_until=as_of)
        for name in (*named, pushed)
        if name in named or (resources.tables.exists(name) and (name in versions or not versions))
    }
    told, reviewed = frames.pop(pushed, None), reviewed_of(resources, lane, as_of)
    rows = _assembled(recipe, frames, told, as_of, leave_out, reviewed=reviewed)
    return rows.hold_out(duration(holdout))


def table_versions(resources: Resources, lane: Lane) -> dict[str, int]:
    """The newest version of every table that a training of this lane reads, pushed labels included."""
    pushed = label_table(lane.project, lane.model)
    names = [*lane.recipe.tables, *([pushed] if resources.tables.exists(pushed) else [])]
    return {name: resources.tables.open(name).version for name in names}


def _assembled(
    recipe: Recipe,
    frames: Mapping[str, pl.DataFrame],
    pushed: pl.DataFrame | None,
    as_of: datetime,
    leave_out: Sequence[tuple[datetime, datetime]] = (),
    *,
    reviewed: Reviewed | None = None,
) -> LabelledRows:
    actions = _actions(recipe, frames)
    return assemble(recipe, frames, as_of=as_of, pushed=pushed, actions=actions, leave_out=leave_out, reviewed=reviewed)


def _actions(recipe: Recipe, frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame | None:
    """The actions to weigh training rows by; None where the label does not ask for it."""
    log, table = recipe.label.logged, recipe.label.table
    return known_actions(frames[table], log) if log and log.weigh_training else None
