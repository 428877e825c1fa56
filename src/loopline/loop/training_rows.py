"""The rows of a training: as the tables hold them now, or as they were pinned."""

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from loopline.labels.action_log import known_actions
from loopline.labels.intake import label_table
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.loop.watch import pushed_labels
from loopline.training.training_set import LabelledRows, assemble
from loopline.values import duration


def training_rows(
    resources: Resources, lane: Lane, history: History, as_of: datetime
) -> tuple[LabelledRows, LabelledRows]:
    """The labelled rows known at `as_of`: those to train on, and those held out for the gates. Raises as `assemble`."""
    frames = history.all_known(lane.recipe.tables, as_of)
    return _rows(lane, frames, pushed_labels(resources, lane, as_of), as_of)


def pinned_rows(
    resources: Resources, lane: Lane, versions: Mapping[str, int | None], as_of: datetime
) -> tuple[LabelledRows, LabelledRows]:
    """The same as the tables were at `versions`; None for a table as it is now. Raises as `assemble`, and `NotFound` for a
    version that is gone.
    """
    frames = {
        name: resources.tables.open(name).read(version=versions.get(name), known_until=as_of)
        for name in lane.recipe.tables
    }
    pushed = label_table(lane.project, lane.model)
    there = resources.tables.exists(pushed) and (pushed in versions or not versions)
    labels = resources.tables.open(pushed).read(version=versions.get(pushed), known_until=as_of) if there else None
    return _rows(lane, frames, labels, as_of)


def table_versions(resources: Resources, lane: Lane) -> dict[str, int]:
    """The newest version of every table that a training of this lane reads, pushed labels included."""
    pushed = label_table(lane.project, lane.model)
    names = [*lane.recipe.tables, *([pushed] if resources.tables.exists(pushed) else [])]
    return {name: resources.tables.open(name).version for name in names}


def _rows(
    lane: Lane, frames: Mapping[str, pl.DataFrame], pushed: pl.DataFrame | None, as_of: datetime
) -> tuple[LabelledRows, LabelledRows]:
    rows = assemble(lane.recipe, frames, as_of=as_of, pushed=pushed, actions=_actions(lane, frames))
    return rows.hold_out(duration(lane.operation.model.holdout))


def _actions(lane: Lane, frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame | None:
    """The actions to weigh training rows by; None where the label does not ask for it."""
    log, table = lane.recipe.label.logged, lane.recipe.label.table
    return known_actions(frames[table], log) if log and log.weigh_training else None
