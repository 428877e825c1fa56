"""Watch: predictions whose labels have matured meet them, block by block, and the monitor moves on. Exactly once."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import polars as pl
import structlog

from loopline.decisions.decision import decode_decision
from loopline.labels.censoring import weighed
from loopline.labels.outcomes import LABEL_KEY, outcomes
from loopline.ledger import chain
from loopline.loop.alarms import record_alarm
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.pushed_labels import pushed_labels
from loopline.loop.resources import Resources
from loopline.loop.review import reviewed_of
from loopline.models import decision_versions
from loopline.monitoring import watch
from loopline.monitoring.alarm import Alarm
from loopline.monitoring.block import BlockSummary, cut
from loopline.monitoring.risk import Risk
from loopline.scoring.record import FEATURE_PREFIX, prediction_table
from loopline.values import MICROSECOND, duration, from_micros, micros

log = structlog.get_logger(__name__)

HARM_MONITOR = "harm"
_SCORED = ["_key", "_event_time", "score", "outputs", "decision", "model_version", "group", "label_key"]


def watch_matured(resources: Resources, lane: Lane, history: History, now: datetime) -> list[Alarm]:
    """Advance the lane's monitor over every whole block that has matured by `now`; gives the alarms raised.

    State, watermark, performance, alarms and their ledger entries commit together. Without a champion yet there is no
    monitor and nothing happens.
    """
    with resources.database.reading() as tx:
        monitor = watch.find_monitor(tx, lane.project, lane.model, HARM_MONITOR)
        decision = decision_versions.current_decision(tx, lane.project, lane.model)
    if monitor is None or decision is None:
        return []
    follow_declaration(resources, lane, monitor, lane.operation.watch, now)
    until = block_floor(lane.operation.model.label.mature_until(now), lane.operation.watch.block)
    if until <= monitor.watermark:
        return []
    rows = matured(resources, lane, history, after=monitor.watermark, until=until, now=now)
    blocks = cut(rows, lane.operation.watch, decode_decision(decision.body), lane.operation.model.output)
    return _advance(resources, lane, blocks, now)


def follow_declaration(
    resources: Resources, lane: Lane, monitor: watch.Monitor, declared: Risk, now: datetime
) -> watch.Monitor:
    """Let the monitor watch as the loop now declares; gives it as it is then.

    Its reference holds where loss, baseline and block are the same; where they are not, the promise was made in another
    measure, and the monitor goes on as it was until a person sets a new reference.
    """
    before = monitor.spec
    if before == declared:
        return monitor
    if (before.loss, before.baseline, before.block) != (declared.loss, declared.baseline, declared.block):
        log.warning("monitor_kept", project=lane.project, model=lane.model, watches=str(before), declared=str(declared))
        return monitor
    with resources.database.transaction() as tx:
        scope = {"project": lane.project, "model": lane.model, "name": monitor.name}
        watch.change_risk(tx, **scope, spec=declared, reference=monitor.reference)
        chain.append(
            tx,
            project=lane.project,
            at=now,
            kind="monitor.changed",
            actor="loop",
            subject=f"{lane.model}:{monitor.name}",
            body={"before": msgspec.to_builtins(before), "after": msgspec.to_builtins(declared)},
            key=f"monitor:{lane.model}:{micros(now)}"
            if monitor.name == HARM_MONITOR
            else f"monitor:{lane.model}:{monitor.name}:{micros(now)}",
        )
        return watch.read_monitor(tx, *scope.values())


def _advance(resources: Resources, lane: Lane, blocks: list[BlockSummary], now: datetime) -> list[Alarm]:
    with resources.database.transaction() as tx:
        alarms = watch.advance(tx, project=lane.project, model=lane.model, name=HARM_MONITOR, blocks=blocks, at=now)
        for alarm in alarms:
            record_alarm(tx, alarm, at=now)
        return alarms


def matured(
    resources: Resources,
    lane: Lane,
    history: History,
    *,
    after: datetime,
    until: datetime,
    now: datetime,
    also: Sequence[str] = (),
) -> pl.DataFrame:
    """Predictions made for times in (after, until] with their outcomes as known at `now`, and `also` these columns of theirs.

    Columns `at`, `score`, `outputs`, `decision`, `model_version`, `group`, `label` (null = not known) and `label_known_at`, with `_key`; where
    labels can be censored also `censored`, `bound` and `weight`, and `weight` where people review some predictions.
    """
    table = resources.tables.open(prediction_table(lane.project, lane.model))
    scored = table.read(event_after=after, event_until=until, columns=[*_SCORED, *also])
    label = lane.operation.model.label
    pushed, reviewed = pushed_labels(resources, lane, now), reviewed_of(resources, lane, now)
    scored = scored.rename({"label_key": LABEL_KEY})
    told = history.known(label.table, now)
    joined = outcomes(scored, told, label, as_of=now, pushed=pushed, reviewed=reviewed)
    joined = weighed(joined, label, reviewed)
    marks = ["weight", "censored", "bound"] if label.censors else ["weight"] if reviewed is not None else []
    kept = ["_key", "score", "outputs", "decision", "model_version", "group", "label", "label_known_at", *marks, *also]
    return joined.select(*kept, at="_event_time", _group="group")


def logged_columns(resources: Resources, lane: Lane) -> list[str]:
    """The columns of the lane's prediction table that hold features."""
    name = prediction_table(lane.project, lane.model)
    columns = resources.tables.open(name).schema.columns if resources.tables.exists(name) else {}
    return [column for column in columns if column.startswith(FEATURE_PREFIX)]


def predictions_between(
    resources: Resources, lane: Lane, columns: Sequence[str], after: datetime, until: datetime
) -> pl.DataFrame | None:
    """The lane's predictions that are for a time from `after` up to `until`, which is `at`, with these columns; None before the first."""
    name = prediction_table(lane.project, lane.model)
    if not resources.tables.exists(name):
        return None
    rows = resources.tables.open(name).read(event_after=after, event_until=until, columns=["_event_time", *columns])
    return rows.rename({"_event_time": "at"})


def block_floor(moment: datetime, block: str) -> datetime:
    """The last block boundary at or before `moment`."""
    length = duration(block) // MICROSECOND
    return from_micros(micros(moment) // length * length)
