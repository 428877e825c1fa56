"""Take in: the predictions of a model that something else serves, from the rows of their source into the table of predictions. Each id once."""

import polars as pl

from loopline.errors import InvalidInput
from loopline.loop.external_record import as_records
from loopline.loop.external_versions import version_numbers
from loopline.loop.lane import Lane
from loopline.loop.model import External
from loopline.loop.resources import Resources
from loopline.loop.score import Scored, append_predictions, scored_of
from loopline.scoring.feature_columns import filed
from loopline.scoring.record import prediction_table
from loopline.tables.schema import UTC_TIME
from loopline.tables.table import Table
from loopline.values import derive_ids, digest

NOTHING = Scored(0, digest(b""))


def take_in(resources: Resources, lane: Lane) -> Scored:
    """Append the predictions that came since they were last taken in; gives how many, with their digest.

    How far the source's table was read is the sequence of the append: killed at any point and done again, it comes to the same. The first row of
    an id counts, also where it comes again under another key. One process takes in at a time: the one that holds the home.

    Raises `InvalidInput` "external.no_column" where the rows lack a column that the model is declared with.
    """
    model = lane.operation.model
    source, name = model.on.table, prediction_table(lane.project, lane.model)
    if model.external is None or not resources.tables.exists(source):
        return NOTHING
    held = resources.tables.open(name) if resources.tables.exists(name) else None
    writer = f"external:{source}"
    last = held.sequence(writer) if held else None
    after = -1 if last is None else last
    until, rows = resources.tables.open(source).appended(after)
    rows = rows.filter(~pl.col("_tombstone"))
    if until <= after or rows.is_empty():
        return NOTHING
    _require(rows, lane, model.external)
    fresh = _fresh(rows, lane, model.external, held)
    if fresh.is_empty():
        return NOTHING
    numbers = version_numbers(resources, lane, fresh)
    predictions = filed(as_records(resources, lane, fresh, numbers), held.schema.columns if held else {})
    told = {"source": source, "after": after, "until": until}
    append_predictions(resources, name, predictions, writer=writer, number=until, told=told)
    return scored_of(predictions)


def _require(rows: pl.DataFrame, lane: Lane, external: External) -> None:
    model = lane.operation.model
    also = [external.id, external.version, external.decision, model.group, model.target, *model.label.by]
    missing = [name for name in (model.at, *external.score, *model.given, *also) if name and name not in rows.columns]
    if missing:
        raise InvalidInput(
            "external.no_column",
            f"{model.on.table} has no column {', '.join(missing)}, which model {model.name!r} is declared with",
            remedy=f"Its columns are: {', '.join(name for name in rows.columns if not name.startswith('_'))}.",
        )


def _fresh(rows: pl.DataFrame, lane: Lane, external: External, held: Table | None) -> pl.DataFrame:
    """The rows with `prediction_id` and `_at`, the first of each id, without those whose id is held. A row without a time or an id is none."""
    found = rows.with_columns(_at=pl.col(lane.operation.model.at).cast(UTC_TIME)).filter(pl.col("_at").is_not_null())
    if external.id:
        ids = found[external.id].cast(pl.String)
    else:
        asked = zip(found["_key"].to_list(), found["_at"].dt.timestamp("us").to_list(), strict=True)
        ids = pl.Series(derive_ids("pr", 0, (lane.project, lane.model), asked), dtype=pl.String)
    found = found.with_columns(prediction_id=ids).filter(pl.col("prediction_id").is_not_null())
    found = found.unique("prediction_id", keep="first", maintain_order=True)
    if held is None or found.is_empty():
        return found
    known = held.read(columns=["prediction_id"], where=pl.col("prediction_id").is_in(found["prediction_id"].implode()))
    return found.join(known, on="prediction_id", how="anti", maintain_order="left")
