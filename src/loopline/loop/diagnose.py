"""Diagnose: the likely causes of a harm, from what the loop logged since before it began."""

from datetime import datetime
from typing import Any

import msgspec
import polars as pl
import structlog

from loopline.loop.discreet import discreet
from loopline.loop.history import History
from loopline.loop.inputs import LEAST_ROWS, References, suspects
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.loop.upstream import changes_upstream
from loopline.loop.watch import logged_columns, matured
from loopline.monitoring import watch
from loopline.monitoring.alarm import Alarm
from loopline.monitoring.alarm_kinds import ESTIMATED_HARM, HARM
from loopline.monitoring.diagnosis.cause import Cause
from loopline.monitoring.diagnosis.question import Question
from loopline.scoring.feature_columns import plain_names
from loopline.values import duration

log = structlog.get_logger(__name__)

REFERENCE_BLOCKS = 42
_GIVEN = ("_key", "at", "score", "outputs", "label", "decision", "model_version", "group")
MOST_ROWS = 400_000
MOST = 5


def diagnose(
    resources: Resources, lane: Lane, history: History, references: References, alarm: Alarm, now: datetime
) -> list[dict[str, Any]]:
    """The likeliest causes first; for a data fault the faults themselves; where there is too little to rank, inputs that moved."""
    if alarm.kind not in {HARM, ESTIMATED_HARM}:
        return [dict(fault) for fault in alarm.evidence.get("faults", [])]
    causes = _causes(resources, lane, history, alarm, now) if alarm.kind == HARM else []
    if causes:
        return [_rounded(msgspec.to_builtins(one)) for one in causes[:MOST]]
    since = datetime.fromisoformat(alarm.evidence["onset"])
    moved = suspects(resources, lane, references, since=since, until=alarm.block_end)
    return [msgspec.to_builtins(one) for one in moved]


def _causes(resources: Resources, lane: Lane, history: History, alarm: Alarm, now: datetime) -> list[Cause]:
    with resources.database.reading() as tx:
        monitor = watch.find_monitor(tx, lane.project, lane.model, alarm.monitor)
    if resources.diagnoser is None or monitor is None or lane.operation.model.output.kind == "multioutput":
        return []
    risk = monitor.spec
    onset = datetime.fromisoformat(alarm.evidence["onset"])
    earliest = min(onset, _moment(alarm, "onset_earliest") or onset)
    latest = max(onset, _moment(alarm, "onset_latest") or onset)
    rows = _rows(resources, lane, history, earliest - REFERENCE_BLOCKS * duration(risk.block), alarm.block_end, now)
    if rows.height < LEAST_ROWS:
        return []
    changes = changes_upstream(resources, lane, block=duration(risk.block), earliest=earliest, latest=latest)
    question = Question(lane.operation.model.output, risk, earliest, onset, alarm.block_end, changes)
    try:
        return resources.diagnoser(rows, question)
    except Exception as error:  # whoever is to be called must be called, with causes or without
        log.warning("diagnosis_failed", project=lane.project, model=lane.model, alarm=alarm.id, error=repr(error))
        return []


def _rounded(value: Any) -> Any:
    """With six significant digits: more say nothing, and libraries differ in them."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


def _moment(alarm: Alarm, name: str) -> datetime | None:
    told = alarm.evidence.get(name)
    return datetime.fromisoformat(told) if told else None


def _rows(
    resources: Resources, lane: Lane, history: History, since: datetime, until: datetime, now: datetime
) -> pl.DataFrame:
    """The predictions of (since, until] with labels and features, persons not named; of very many every so-manieth. A feature that is called as
    what is told of a prediction is left out.
    """
    columns = logged_columns(resources, lane)
    rows = matured(resources, lane, history, after=since, until=until, now=now, also=columns).sort("at", "_key")
    rows = rows.gather_every(max(1, -(-rows.height // MOST_ROWS)))
    rows = rows.select(*_GIVEN, *columns)
    features = plain_names(rows.columns)
    return discreet(resources, lane, rows.select(*_GIVEN, *features).rename(features))
