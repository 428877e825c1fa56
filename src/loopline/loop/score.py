"""Score: the rows due in a window, by the champion, into the table of predictions. Each row once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from loopline.clock import Clock
from loopline.loop.deployment import Predictors, deployment, terms_of
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.models.manifest import Deployment
from loopline.scoring.engine import Engine
from loopline.scoring.exploration import DayBudget
from loopline.scoring.feature_columns import filed
from loopline.scoring.record import prediction_table
from loopline.scoring.variants import SHADOW
from loopline.tables.schema import TableSchema
from loopline.tables.table import Table
from loopline.values import Window, digest


@dataclass(frozen=True)
class Scored:
    """How many rows were scored, and a digest over their ids and scores."""

    rows: int
    digest: str


def score_due(
    resources: Resources, lane: Lane, predictors: Predictors, due: pl.DataFrame, *, number: int, window: Window
) -> Scored:
    """Score `due` and append the predictions, once for each turn's `number`.

    A turn that is repeated after a crash finds its predictions already there and reads them back: by then another champion
    may serve, and what was answered stays answered.
    """
    name = prediction_table(lane.project, lane.model)
    if due.is_empty():
        return Scored(0, digest(b""))
    if resources.tables.exists(name):
        table = resources.tables.open(name)
        if (table.sequence(lane.project) or 0) >= number:
            return scored_of(table.read(event_after=window.start, event_until=window.end))
    held = resources.tables.open(name).schema.columns if resources.tables.exists(name) else {}
    with resources.database.reading() as tx:
        serving = deployment(tx, lane.project, lane.model, terms_of(lane.operation))
    _shadow(resources, lane, predictors, serving, due, number=number, window=window)
    predictions = filed(_predict(resources, lane, predictors, serving, due, window), held)
    append_predictions(resources, name, predictions, writer=lane.project, number=number, told=_turn(number, window))
    return scored_of(predictions)


def _shadow(
    resources: Resources,
    lane: Lane,
    predictors: Predictors,
    serving: Deployment,
    due: pl.DataFrame,
    *,
    number: int,
    window: Window,
) -> None:
    """What shadows make of the rows, under the ids of the answers. It goes first: a turn counts as scored once the answers are in."""
    name = prediction_table(lane.project, lane.model, shadow=True)
    for one in (variant for variant in serving.variants if variant.role == SHADOW):
        writer = f"{lane.project}:{one.name}"
        if resources.tables.exists(name) and (resources.tables.open(name).sequence(writer) or 0) >= number:
            continue
        alone = msgspec.structs.replace(
            serving,
            version=one.served.version,
            package=one.served.package,
            package_envelope=one.served.package_envelope,
            previous=None,
            explore=None,
            variants=(),
        )
        held = resources.tables.open(name).schema.columns if resources.tables.exists(name) else {}
        made = _predict(resources, lane, predictors, alone, due, window).with_columns(variant=pl.lit(one.name))
        append_predictions(resources, name, filed(made, held), writer=writer, number=number, told=_turn(number, window))


def append_predictions(
    resources: Resources, name: str, predictions: pl.DataFrame, *, writer: str, number: int, told: Mapping[str, Any]
) -> None:
    """Append rows to a table of predictions, once for each `number` of the writer; columns that it lacks are added. `told` is their provenance."""
    table = _table(resources, name, predictions)
    table.append(_with_all_columns(predictions, table), writer=writer, sequence=number, provenance=told)


def _turn(number: int, window: Window) -> dict[str, Any]:
    return {"turn": number, "window": str(window)}


def _predict(
    resources: Resources, lane: Lane, predictors: Predictors, serving: Deployment, due: pl.DataFrame, window: Window
) -> pl.DataFrame:
    predictor = predictors.load(serving.package, serving.package_envelope) if serving.version else None
    clock: Clock = resources.clock
    budget = _budget(resources, lane, serving, window)
    engine = Engine(lane.project, serving, predictor, clock=clock, instance=f"batch-{lane.seed}", budget=budget)
    rows = due.rename({"_key": serving.key, "_event_time": serving.at})
    return engine.predict_frame(rows, scored_at=window.end, seed=lane.seed)


def _budget(resources: Resources, lane: Lane, serving: Deployment, window: Window) -> DayBudget:
    """What was explored on the day so far, as the table of predictions says: it survives what the process does not."""
    name = prediction_table(lane.project, lane.model)
    bounded = serving.explore is not None and serving.explore.at_most_per_day is not None
    if not bounded or not resources.tables.exists(name):
        return DayBudget()
    begins = window.end.replace(hour=0, minute=0, second=0, microsecond=0)
    columns = ["prediction_id", "decision", "action"]
    rows = resources.tables.open(name).read(columns=columns, where=pl.col("_known_at") >= begins)
    spent = rows.filter(pl.col("decision") != pl.col("action"))["prediction_id"].to_list()
    return DayBudget(spent=spent, day=f"{window.end:%Y-%m-%d}")


def _table(resources: Resources, name: str, predictions: pl.DataFrame) -> Table:
    """The table, with the columns it has and those that this champion adds."""
    before = resources.tables.open(name).schema if resources.tables.exists(name) else TableSchema()
    known = before.all_columns
    added = {column: dtype for column, dtype in predictions.schema.items() if column not in known}
    return resources.tables.create(name, before.widened(added))


def _with_all_columns(predictions: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Features of earlier champions that this one does not use are null."""
    absent = {name: dtype for name, dtype in table.schema.columns.items() if name not in predictions.columns}
    return predictions.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in absent.items())


def scored_of(predictions: pl.DataFrame) -> Scored:
    """How many, with their digest."""
    ordered = predictions.sort("_event_time", "_key")
    ids = "\n".join(ordered["prediction_id"].to_list()).encode()
    return Scored(predictions.height, digest(ids + ordered["score"].to_numpy().tobytes()))
