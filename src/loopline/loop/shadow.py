"""What a shadow would have answered, beside what the champion answered: how often they agree, and what that cost once labels came."""

from datetime import datetime

import msgspec
import numpy as np
import polars as pl

from loopline.errors import NotFound
from loopline.evaluation.intervals import Interval, paired_by_block
from loopline.evaluation.kind import Output, from_column
from loopline.evaluation.losses import named
from loopline.gates import variants
from loopline.gates.environment import endpoint_of
from loopline.gates.variants import SHADOW, Deployed
from loopline.labels.intake import label_table
from loopline.labels.label import Label
from loopline.labels.outcomes import LABEL_KEY, outcomes
from loopline.loop.declare import Loop, Operation
from loopline.loop.release import declared_route
from loopline.loop.resources import Resources
from loopline.scoring.record import CHAMPION, prediction_table

_BLOCK = "1d"
_COLUMNS = ["prediction_id", "score", "outputs", "decision", "latency_ms"]
_ANSWERED = ["_key", "_event_time", "group", "label_key", *_COLUMNS]


class Change(msgspec.Struct, frozen=True):
    """Rows that the champion decided one way and the shadow another."""

    champion: str
    shadow: str
    rows: int


class Regret(msgspec.Struct, frozen=True):
    """The mean loss of either on the same matured and labelled rows; `difference` is the champion's minus the shadow's by day,
    so what is above zero is what the champion cost: its regret. None for too few days.
    """

    loss: str
    rows: int
    champion: float
    shadow: float
    difference: Interval | None


class Comparison(msgspec.Struct, frozen=True):
    """A shadow beside the champion on the rows that both scored, since `since` (UTC).

    `agreed` is the share of equal decisions; differences are of scores, the shadow's minus the champion's. Times are the medians
    in milliseconds: the champion's of whole answers, the shadow's of scoring alone.
    """

    name: str
    version: int
    endpoint: str
    since: datetime
    rows: int
    agreed: float | None
    mean_difference: float | None
    mean_absolute: float | None
    most_absolute: float | None
    champion_ms: float | None
    shadow_ms: float | None
    changes: tuple[Change, ...]
    regret: Regret | None


def the_shadow(resources: Resources, project: str, model: str, environment: str, name: str | None) -> Deployed:
    """The shadow of that name, or the newest. Raises `NotFound` "shadow.none"."""
    with resources.database.reading() as tx:
        found = variants.find(tx, project, model=model, environment=environment)
    shadows = [one for one in found if one.role == SHADOW and name in {None, one.name}]
    if not shadows:
        raise NotFound(
            "shadow.none",
            f"{model} has no shadow{f' {name!r}' if name else ''} in {environment}",
            remedy=f"Deploy one: `loopline deploy {model}:VERSION --shadow`.",
        )
    return next((one for one in reversed(shadows) if one.state == variants.RUNNING), shadows[-1])


def compare(resources: Resources, found: Deployed, loop: Loop | None = None) -> Comparison:
    """Compare the shadow with the champion's answers since it was deployed; `loop`, the loop file, says what the labels are."""
    with resources.database.reading() as tx:
        names = declared_route(tx, found.project, found.model).environments
    endpoint = endpoint_of(found.model, names, found.environment)
    rows = _both(resources, found, endpoint)
    operation = None if loop is None else loop.operations.get(found.model)
    differences = (rows["shadow_score"] - rows["score"]).drop_nulls()
    apart = differences.abs()
    return Comparison(
        name=found.name,
        version=found.version,
        endpoint=endpoint,
        since=found.started_at,
        rows=rows.height,
        agreed=_number((rows["shadow_decision"] == rows["decision"]).mean()),
        mean_difference=_number(differences.mean()),
        mean_absolute=_number(apart.mean()),
        most_absolute=_number(apart.max()),
        champion_ms=_number(rows["latency_ms"].median()),
        shadow_ms=_number(rows["shadow_latency_ms"].median()),
        changes=_changes(rows),
        regret=None if operation is None else _regret(resources, found, operation, rows),
    )


def _both(resources: Resources, found: Deployed, endpoint: str) -> pl.DataFrame:
    """The champion's answers that the shadow scored too, with the shadow's columns beside theirs."""
    answered, shadowed = (prediction_table(found.project, endpoint, shadow=shadow) for shadow in (False, True))
    if not (resources.tables.exists(answered) and resources.tables.exists(shadowed)):
        empty = {name: pl.String() if name in {"prediction_id", "decision"} else pl.Float64() for name in _COLUMNS}
        return pl.DataFrame(schema=empty | {f"shadow_{name}": dtype for name, dtype in empty.items()})
    since, until = found.started_at, found.ended_at
    theirs = resources.tables.open(shadowed).read(
        columns=_COLUMNS, known_after=since, where=pl.col("variant") == found.name
    )
    own = resources.tables.open(answered).read(
        columns=_ANSWERED, known_after=since, known_until=until, where=pl.col("variant") == CHAMPION
    )
    renamed = theirs.rename({name: f"shadow_{name}" for name in _COLUMNS if name != "prediction_id"})
    return own.join(renamed, on="prediction_id", how="inner", maintain_order="left")


def _changes(rows: pl.DataFrame) -> tuple[Change, ...]:
    apart = rows.filter(pl.col("shadow_decision") != pl.col("decision"))
    counted = apart.group_by("decision", "shadow_decision").len().sort("len", "decision", descending=[True, False])
    return tuple(Change(*row) for row in counted.rows())


def _regret(resources: Resources, found: Deployed, operation: Operation, rows: pl.DataFrame) -> Regret | None:
    labelled = _labelled(resources, found, operation.model.label, rows)
    output, name = operation.model.output, operation.watch.loss
    grouped = labelled["group"].to_numpy() if operation.model.group else None
    labels = labelled["label"].to_numpy()
    losses = [named(name, output).rows(_outputs(labelled, output, of), labels, grouped) for of in ("", "shadow_")]
    known = ~np.isnan(losses[0]) & ~np.isnan(losses[1])
    if not known.any():
        return None
    champion, shadow = losses[0][known], losses[1][known]
    day = labelled["_event_time"].dt.truncate(_BLOCK).to_numpy()[known]
    difference = paired_by_block(champion, shadow, day)
    return Regret(name, int(known.sum()), float(champion.mean()), float(shadow.mean()), difference)


def _labelled(resources: Resources, found: Deployed, label: Label, rows: pl.DataFrame) -> pl.DataFrame:
    now = resources.clock.now()
    due = rows.filter(pl.col("_event_time") <= label.mature_until(now)) if rows.height else rows
    history, pushed = resources.tables, label_table(found.project, found.model)
    if due.is_empty() or not history.exists(label.table):
        return due.clear().with_columns(
            label=pl.lit(None, pl.Float64), group=pl.lit(None, pl.String), _event_time=pl.lit(None, pl.Datetime("us"))
        )
    joined = outcomes(
        due.rename({"label_key": LABEL_KEY}),
        history.open(label.table).read(known_until=now),
        label,
        as_of=now,
        pushed=history.open(pushed).read(known_until=now) if history.exists(pushed) else None,
    )
    return joined.filter(pl.col("label").is_not_null())


def _outputs(rows: pl.DataFrame, output: Output, of: str) -> np.ndarray:
    return output.shaped(from_column(rows[f"{of}outputs" if output.wide else f"{of}score"]))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
