"""Whose labels are asked for: the predictions that a monitor of few labels drew."""

from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from loopline.errors import NotFound
from loopline.labels.intake import label_table
from loopline.loop import store
from loopline.loop.resources import Resources
from loopline.monitoring.powered import drawn
from loopline.scoring.record import prediction_table

_COLUMNS = ["_key", "_event_time", "prediction_id", "score", "decision"]


class Asked(msgspec.Struct, frozen=True):
    """A prediction whose label is asked for. `at` is the moment that it is for, UTC; `labelled` says whether a label was pushed for it."""

    key: str
    at: datetime
    prediction_id: str
    score: float | None
    decision: str
    labelled: bool


def asked_for(resources: Resources, project: str, model: str, *, since: datetime, until: datetime) -> list[Asked]:
    """The predictions for times in (since, until] that were drawn, in the order of time.

    Raises `NotFound` "asked.nobody" where no `ll.Powered` with a share is declared for the model.
    """
    with resources.database.reading() as tx:
        applied = store.latest_applied(tx, project)
    shares = [] if applied is None else _shares(applied["declaration"], model)
    if not shares:
        raise NotFound(
            "asked.nobody",
            f"no label of {model} is asked for by chance",
            remedy="Declare it: watch=[..., ll.Powered(tolerance=0.02, share=0.05)]. A judge's rows that hold a propensity say themselves who was asked.",
        )
    name = prediction_table(project, model)
    if not resources.tables.exists(name):
        return []
    rows = resources.tables.open(name).read(event_after=since, event_until=until, columns=_COLUMNS)
    rows = rows.filter(pl.Series(drawn(model, rows["_key"], max(shares)), dtype=pl.Boolean)).sort("_event_time", "_key")
    labelled = _labelled(resources, project, model)
    return [
        Asked(
            row["_key"],
            row["_event_time"],
            row["prediction_id"],
            row["score"],
            row["decision"] or "",
            row["_key"] in labelled,
        )
        for row in rows.iter_rows(named=True)
    ]


def _shares(declaration: dict[str, Any], model: str) -> list[float]:
    also = declaration["operations"].get(model, {}).get("also", [])
    return [one["share"] for one in also if one.get("type") == "powered" and one["share"] is not None]


def _labelled(resources: Resources, project: str, model: str) -> set[str]:
    name = label_table(project, model)
    if not resources.tables.exists(name):
        return set()
    return set(resources.tables.open(name).current(columns=["_key"])["_key"].to_list())
