"""The labels that were pushed for a lane's model."""

from datetime import datetime

import polars as pl

from loopline.labels.intake import label_table
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources


def pushed_labels(resources: Resources, lane: Lane, now: datetime) -> pl.DataFrame | None:
    """The labels that were pushed for the lane's model and known by `now`; None where none ever were."""
    name = label_table(lane.project, lane.model)
    return resources.tables.open(name).read(known_until=now) if resources.tables.exists(name) else None
