"""Predictions of a model that something else serves, as records like those of our own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.decisions.actions import actions_of
from loopline.decisions.decision import AnyDecision, decode_decision, only_costs
from loopline.decisions.policy import ABSTAIN, NEGATIVE, POSITIVE
from loopline.evaluation.kind import Output, as_column, from_column
from loopline.loop.lane import Lane
from loopline.loop.model import External, Model
from loopline.loop.resources import Resources
from loopline.models import decision_versions
from loopline.scoring.record import CHAMPION, COLUMNS, FEATURE_PREFIX, FEATURE_TYPES
from loopline.tables.schema import UTC_TIME
from loopline.tables.source import key_text

Floats = npt.NDArray[np.float64]

NO_OUTPUT = "output_missing"
ODD_OUTPUT = "output_out_of_range"
ODD_DECISION = "decision_unknown"

_PROBABLE = {"binary", "multiclass"}


def as_records(resources: Resources, lane: Lane, rows: pl.DataFrame, versions: Sequence[int]) -> pl.DataFrame:
    """`rows` (with `prediction_id` and `_at`) in the columns of a table of predictions.

    An output that is missing, or no probability where one is meant, is null, and so is told in `degraded`; so is a decision that there is not, in
    whose place the one by costs is taken. `versions` are the numbers of the versions that answered.
    """
    model, output = lane.operation.model, lane.operation.model.output
    external = model.external or External(())
    outputs, codes = _outputs(rows, external, output)
    number, in_force = _in_force(resources, lane)
    decided = pl.Series(in_force.decide(outputs), dtype=pl.String)
    if external.decision:
        said = _said(rows[external.decision], in_force)
        unknown = rows[external.decision].is_not_null() & said.is_null()
        codes = [[*one, *([ODD_DECISION] if odd else [])] for one, odd in zip(codes, unknown, strict=True)]
        decided = said.fill_null(decided)
    made: dict[str, Any] = {
        "prediction_id": rows["prediction_id"],
        "endpoint": pl.lit(lane.model),
        "model": pl.lit(lane.model),
        "model_version": pl.Series(versions, dtype=pl.Int64),
        "decision_version": pl.lit(number, pl.Int64),
        "variant": pl.lit(CHAMPION),
        "scored_at": rows["_known_at"],
        "score": pl.Series(output.scores(outputs), dtype=pl.Float64).fill_nan(None),
        "decision": decided,
        "action": decided.replace("", None),
        "degraded": pl.Series(codes, dtype=pl.List(pl.String)),
    }
    made |= {"outputs": as_column("outputs", outputs)} if output.wide else {}
    made |= _carried(rows, model)
    held = rows.select("_key", pl.col("_at").alias("_event_time"), "_known_at", "_tombstone", *_features(model))
    absent = {name: dtype for name, dtype in COLUMNS.items() if name not in made}
    frame = held.with_columns(**made, **{name: pl.lit(None, dtype) for name, dtype in absent.items()})
    return frame.select("_key", "_event_time", "_known_at", "_tombstone", *COLUMNS, pl.col(f"^{FEATURE_PREFIX}.*$"))


def _carried(rows: pl.DataFrame, model: Model) -> dict[str, pl.Series]:
    found: dict[str, pl.Series] = {}
    if model.label.by:
        found["label_key"] = rows.select(label_key=key_text(model.label.by))["label_key"]
    if model.group:
        found["group"] = rows[model.group].cast(pl.String)
    if model.target:
        found["target_time"] = rows[model.target].cast(UTC_TIME)
    return found


def _features(model: Model) -> list[pl.Expr]:
    return [
        pl.col(name).cast(FEATURE_TYPES[kind], strict=False).alias(FEATURE_PREFIX + name)
        for name, kind in model.given_kinds.items()
    ]


def _outputs(rows: pl.DataFrame, external: External, output: Output) -> tuple[Floats, list[list[str]]]:
    """The outputs, NaN where there is none to be used, and why."""
    columns = [rows[name] for name in external.score]
    if len(columns) > 1:
        given = np.column_stack(
            [column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy() for column in columns]
        )
    else:
        given = from_column(columns[0])
    found = output.shaped(np.array(given, dtype=np.float64))
    flat = found.reshape(len(found), -1)
    missing = np.asarray(np.isnan(flat).any(axis=1))
    outside = np.asarray(((flat < 0) | (flat > 1)).any(axis=1))
    odd = outside & ~missing if output.kind in _PROBABLE else np.zeros(len(found), dtype=np.bool_)
    found[missing | odd] = np.nan
    codes = [[NO_OUTPUT] if none else [ODD_OUTPUT] if wrong else [] for none, wrong in zip(missing, odd, strict=True)]
    return found, codes


def _in_force(resources: Resources, lane: Lane) -> tuple[int, AnyDecision]:
    """The decision in force, and its number; before there is one, what follows from costs alone, as 0."""
    with resources.database.reading() as tx:
        found = decision_versions.current_decision(tx, lane.project, lane.model)
    if found is None:
        return 0, only_costs(lane.operation.decide, classes=lane.operation.model.output.classes)
    return found.version, decode_decision(found.body)


def _said(column: pl.Series, decision: AnyDecision) -> pl.Series:
    """What was decided, in our words; null where it is none of the decision's actions."""
    if column.dtype == pl.Boolean:
        return column.to_frame("said").select(
            pl.when("said").then(pl.lit(POSITIVE)).otherwise(pl.when(~pl.col("said")).then(pl.lit(NEGATIVE)))
        )["literal"]
    text = column.cast(pl.String)
    known = [*actions_of(decision), ABSTAIN]
    return (
        text
        if len(known) == 1
        else text.to_frame("said").select(pl.when(pl.col("said").is_in(known)).then("said"))["said"]
    )
