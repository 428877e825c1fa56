"""Labels that are pushed: whoever learns an outcome says so, by the prediction's id or by its key."""

import math
from collections.abc import Sequence
from datetime import datetime

import msgspec
import polars as pl

from loopline.errors import InvalidInput
from loopline.tables.schema import UTC_TIME, TableSchema
from loopline.tables.table import Table
from loopline.tables.tables import Tables
from loopline.values import canonical_json, digest, utc

WRITER = "labels"

_SCHEMA = TableSchema({"label": pl.Float64(), "prediction_id": pl.String(), "principal": pl.String()})


class GivenLabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One outcome, of the prediction `prediction_id` or of every prediction for `key`. A `label` is a number, true or false, or the name of a class; None withdraws it."""

    prediction_id: str | None = None
    key: str | None = None
    label: float | bool | str | None


class Pushed(msgspec.Struct, frozen=True):
    """What became of a push: keys whose label is new or changed, and keys that had it already.

    `version` is the table's version that holds them, None where nothing changed.
    """

    table: str
    version: int | None
    written: int
    unchanged: int


def label_table(project: str, model: str) -> str:
    """The name of the table that holds a model's pushed labels."""
    return f"labels.{project}.{model}"


def push_labels(
    tables: Tables,
    name: str,
    given: Sequence[GivenLabel],
    *,
    predictions: str,
    at: datetime,
    actor: str,
    classes: Sequence[str] = (),
) -> Pushed:
    """Keep labels in the table `name`: all of them, in one version, or none.

    A row's key and event time are those of its prediction in the table `predictions`, its known time is `at`. Pushing what is
    known already changes nothing, so a push may be repeated; another label for a key is a correction. Two pushes at once
    follow each other.

    Raises `InvalidInput` "label.unknown_prediction" (naming the first), "label.names_no_prediction", "label.not_finite" or
    "label.contradictory"; "label.not_a_class" where the label is none of `classes`.
    """
    for index, one in enumerate(given):
        _check(index, one)
    given = [_numbered(index, one, classes) for index, one in enumerate(given)]
    wanted = _resolve(given, _predictions(tables, predictions, given))
    if wanted.is_empty():
        return Pushed(name, None, 0, 0)
    table = tables.create(name, _SCHEMA)
    while True:
        rows = _news(table, wanted, utc(at), actor)
        if rows.is_empty():
            return Pushed(name, None, 0, wanted.height)
        version = _append(table, rows)
        if version is not None:
            return Pushed(name, version, rows.height, wanted.height - rows.height)


def _append(table: Table, rows: pl.DataFrame) -> int | None:
    """The version that holds the rows; None where another push took the place, and what is new has to be found again."""
    last = table.sequence(WRITER)
    content = digest(canonical_json(rows.rows()))
    sequence = 0 if last is None else last + 1
    version = table.append(rows, writer=WRITER, sequence=sequence, provenance={"push": content})
    return version.version if version.provenance["push"] == content else None


def _check(index: int, one: GivenLabel) -> None:
    if (one.prediction_id is None) == (one.key is None):
        raise InvalidInput(
            "label.names_no_prediction",
            f"label {index} has to name its prediction in one way",
            remedy="Give either `prediction_id` or `key`.",
            index=index,
        )
    if isinstance(one.label, float) and not math.isfinite(one.label):
        raise InvalidInput("label.not_finite", f"label {index} is {one.label}", remedy="Give a number.", index=index)


def _numbered(index: int, one: GivenLabel, classes: Sequence[str]) -> GivenLabel:
    """With the place of its class for a label: so it is kept."""
    known = one.label is None or (one.label in range(len(classes)) if classes else not isinstance(one.label, str))
    if isinstance(one.label, str) and one.label in classes:
        return msgspec.structs.replace(one, label=float(classes.index(one.label)))
    if not known:
        wanted = f"one of {', '.join(classes)}" if classes else "a number, true or false"
        raise InvalidInput(
            "label.not_a_class",
            f"label {index} is not {wanted}",
            remedy=f"Nothing was kept. Send {wanted}.",
            index=index,
        )
    return one


def _predictions(tables: Tables, name: str, given: Sequence[GivenLabel]) -> pl.DataFrame:
    columns = ["_key", "_event_time", "prediction_id"]
    if not tables.exists(name):
        return pl.DataFrame(schema={"_key": pl.String(), "_event_time": UTC_TIME, "prediction_id": pl.String()})
    ids = pl.Series([one.prediction_id for one in given if one.prediction_id is not None], dtype=pl.String)
    keys = pl.Series([one.key for one in given if one.key is not None], dtype=pl.String)
    named = pl.col("prediction_id").is_in(ids.implode()) | pl.col("_key").is_in(keys.implode())
    return tables.open(name).read(columns=columns, where=named)


def _resolve(given: Sequence[GivenLabel], predictions: pl.DataFrame) -> pl.DataFrame:
    """One row a key: `_key`, `_event_time` of its last prediction, `prediction_id` as given, `label`."""
    by_id = {row["prediction_id"]: row for row in predictions.iter_rows(named=True)}
    by_key = {row["_key"]: row for row in predictions.iter_rows(named=True)}
    found: dict[str, dict[str, object]] = {}
    for index, one in enumerate(given):
        prediction = by_id.get(one.prediction_id) if one.key is None else by_key.get(one.key)
        if prediction is None:
            raise _unknown(index, one)
        label = None if one.label is None else float(one.label)
        row = {**prediction, "prediction_id": one.prediction_id, "label": label}
        if found.setdefault(row["_key"], row)["label"] != label:
            raise _contradictory(index)
    schema = {"_key": pl.String(), "_event_time": UTC_TIME, "prediction_id": pl.String(), "label": pl.Float64()}
    return pl.DataFrame(list(found.values()), schema=schema)


def _news(table: Table, wanted: pl.DataFrame, at: datetime, actor: str) -> pl.DataFrame:
    """Rows for the keys whose label is another than the one known, in the columns of the table."""
    keys = pl.col("_key").is_in(wanted["_key"].implode())
    known = table.read(columns=["_key", "_known_at", "label"], where=keys).sort("_known_at", maintain_order=True)
    latest = known.unique("_key", keep="last", maintain_order=True).select("_key", before="label", since="_known_at")
    joined = wanted.join(latest, on="_key", how="left", maintain_order="left")
    return joined.filter(pl.col("label").ne_missing(pl.col("before"))).select(
        "_key",
        "_event_time",
        # A clock that was set back must not make a correction look older than what it corrects.
        _known_at=pl.max_horizontal(pl.lit(at, UTC_TIME), "since"),
        _tombstone=pl.col("label").is_null(),
        label="label",
        prediction_id="prediction_id",
        principal=pl.lit(actor),
    )


def _unknown(index: int, one: GivenLabel) -> InvalidInput:
    named = f"the id {one.prediction_id!r}" if one.key is None else "its key"
    return InvalidInput(
        "label.unknown_prediction",
        f"label {index}: there is no prediction with {named}",
        remedy="Nothing was kept. A prediction is known once it is shipped, moments after it was answered: try again then.",
        index=index,
        prediction_id=one.prediction_id,
    )


def _contradictory(index: int) -> InvalidInput:
    return InvalidInput(
        "label.contradictory",
        f"label {index} gives another label for its key than one before it",
        remedy="Nothing was kept. Send the label that holds, or one after the other.",
        index=index,
    )
