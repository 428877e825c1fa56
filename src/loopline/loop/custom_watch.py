"""Monitors of the user's own over what a model predicted."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl
import structlog

from loopline.errors import InvalidInput
from loopline.loop.code import code_digest
from loopline.loop.further import Further, champion_since, learnt
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.mishaps import note_mishap, note_recovery
from loopline.loop.rate_watch import SETTLED
from loopline.loop.resources import Resources
from loopline.loop.watch import block_floor, logged_columns, matured
from loopline.monitoring import watch
from loopline.monitoring.alarm_kinds import EXCEEDED
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.change import LATENCY
from loopline.monitoring.custom import Custom
from loopline.monitoring.kinds import key_of
from loopline.monitoring.parts import custom_blocks
from loopline.monitoring.risk import Reference
from loopline.monitoring.state import HarmEvidence
from loopline.pipelines.healing import record
from loopline.scoring.feature_columns import plain_names
from loopline.scoring.record import prediction_table

log = structlog.get_logger(__name__)

_COLUMNS = ["_key", "_event_time", "score", "outputs", "decision", "model_version", "group", "degraded", LATENCY]


def watch_custom(resources: Resources, lane: Lane, history: History, custom: Custom, now: datetime) -> list[Further]:
    """Its monitor. One that learns what is usual learns it anew when its code changes; one that is held to a limit goes on."""
    since = champion_since(resources, lane)
    if since is None:
        return []
    code = code_digest(custom.function)
    name = key_of(custom) if custom.at_most is not None else f"{key_of(custom)}:{code[:8]}"
    risk = custom.risk

    def blocks(after: datetime, until: datetime) -> Sequence[BlockSummary]:
        rows = _rows(resources, lane, history, custom, after, until, now)
        return [] if rows.is_empty() else _marked(rows, custom, _memory(resources, lane, custom, name, code), code)

    until = lane.operation.model.label.mature_until(now) if custom.labels else now if lane.replayed else now - SETTLED
    fixed = None if custom.at_most is None else Reference(0.0, 0.0, 0.0, 0, bounds=(0.0, custom.highest))
    return [
        Further(
            name,
            risk,
            since,
            block_floor(until, risk.block),
            blocks,
            EXCEEDED,
            custom.pages,
            lambda found: custom_sentence(custom, found),
            fixed,
            lambda first: learnt(risk, first),
        )
    ]


def _marked(rows: pl.DataFrame, custom: Custom, memory: Any, code: str) -> list[BlockSummary]:
    """The blocks; what they remember carries the code that made it."""
    found = custom_blocks(rows, custom, memory)
    if not custom.remembers:
        return found
    return [block.remembering({"code": code, "of": block.memory}) for block in found]


def _memory(resources: Resources, lane: Lane, custom: Custom, name: str, code: str) -> Any:
    with resources.database.reading() as tx:
        found = watch.find_monitor(tx, lane.project, lane.model, name)
    kept = found.state.memory if found else None
    return kept["of"] if kept and kept["code"] == code else custom.start


def _rows(
    resources: Resources,
    lane: Lane,
    history: History,
    custom: Custom,
    after: datetime,
    until: datetime,
    now: datetime,
) -> pl.DataFrame:
    features = logged_columns(resources, lane)
    if custom.labels:
        also = [*features, "degraded", LATENCY]
        rows = matured(resources, lane, history, after=after, until=until, now=now, also=also).drop("_group")
    else:
        table = prediction_table(lane.project, lane.model)
        if not resources.tables.exists(table):
            return pl.DataFrame()
        read = resources.tables.open(table).read(event_after=after, event_until=until, columns=[*_COLUMNS, *features])
        rows = read.rename({"_event_time": "at"})
    if lane.replayed:  # how long answers take is the replay's own speed
        rows = rows.with_columns(pl.lit(None, pl.Float64).alias(LATENCY))
    return rows.rename(plain_names(rows.columns)).sort("at", "_key")


def custom_sentence(custom: Custom, found: HarmEvidence) -> str:
    """An alarm in words."""
    since = f"Since about {found.onset:%Y-%m-%d %H:%M} UTC"
    if custom.at_most is not None:
        return (
            f"{since} {custom.name} is {found.excess_since_onset:.4g} in the mean, where {custom.at_most:g} is allowed."
        )
    return (
        f"{since} {custom.name} is {found.excess_since_onset:.4g} in the mean, where {found.reference:.4g} was usual and {custom.tolerance:g} more "
        "is allowed."
    )


def note_failure(resources: Resources, lane: Lane, custom: Custom, error: InvalidInput, now: datetime) -> None:
    """That the function failed: `loopline errors` tells of it, everything else goes on, and its blocks wait."""
    log.warning("monitor_failed", project=lane.project, model=lane.model, monitor=custom.name, error=error.message)
    step, work = _named(lane, custom)
    with resources.database.transaction() as tx:
        tries = len(record.history(tx, work, step))
        note_mishap(tx, loop=lane.project, step=step, work=work, attempt=tries + 1, error=error, at=now)


def note_success(resources: Resources, lane: Lane, custom: Custom, now: datetime) -> None:
    """That the function does what it should, where it failed before."""
    step, work = _named(lane, custom)
    with resources.database.reading() as tx:
        failing = any(one.outcome == "open" for one in record.history(tx, work, step))
    if failing:
        with resources.database.transaction() as tx:
            note_recovery(tx, step=step, work=work, at=now)


def _named(lane: Lane, custom: Custom) -> tuple[str, str]:
    return f"monitor {custom.name}", f"{lane.project}:{lane.model}:{custom.name}"
