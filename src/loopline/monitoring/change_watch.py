"""Monitors of a figure that may move for good: the figure of each block counts once, in the caller's transaction, with its alarms."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from loopline.monitoring import store, watch
from loopline.monitoring.alarm import Alarm, list_alarms, new_alarm, raise_alarm
from loopline.monitoring.alarm_kinds import MOVED
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.moved import Moved, told
from loopline.monitoring.performance import add_performance, measure
from loopline.monitoring.series import SeriesState, watch_series
from loopline.monitoring.state import MonitorState
from loopline.monitoring.watch import Monitor
from loopline.storage.database import Transaction
from loopline.values import derive_seed, duration, from_micros, micros, utc

_A_DAY = duration("1d")


def series_of(monitor: Monitor) -> SeriesState:
    """What a stored monitor knows of its series."""
    memory = monitor.state.memory
    return SeriesState() if memory is None else msgspec.convert(memory, SeriesState)


def seed_of(project: str, model: str, name: str) -> int:
    """What the chance of a series derives from."""
    return derive_seed(0, "series", project, model, name)


def keep_series(tx: Transaction, monitor: Monitor, series: SeriesState, watermark: datetime) -> None:
    """Keep what is known of the series of a monitor that was locked, and until when it saw."""
    memory = msgspec.to_builtins(series)
    state = MonitorState(process=series.process, blocks=series.seen, alarms=series.moves, memory=memory)
    changes = {"state": state, "watermark": watermark}
    store.write_monitor(tx, monitor.project, monitor.model, monitor.name, changes)


def advance_change(
    tx: Transaction,
    *,
    project: str,
    model: str,
    name: str,
    blocks: Sequence[BlockSummary],
    at: datetime,
    what: str,
    page: bool = True,
) -> list[Alarm]:
    """As `watch.advance`, of a monitor that tells where the mean of its blocks moves; `what` names that in a sentence.

    Blocks of too few rows are left out. Raises as `watch.advance`.
    """
    monitor, fresh = watch.fresh_blocks(tx, project=project, model=model, name=name, blocks=blocks)
    if not fresh:
        return []
    whole = [block for block in fresh if block.labelled >= monitor.spec.min_rows]
    series, found, rows = series_of(monitor), [], []
    for block in whole:
        series, moved = watch_series(
            series,
            [block.loss / block.units],
            [micros(block.start)],
            threshold=monitor.spec.threshold,
            seed=seed_of(project, model, name),
        )
        found += [(block, one) for one in moved]
        evidence = moved[0].log_evidence if moved else series.process.log_evidence
        rows.append(
            measure(
                block, monitor.spec, project=project, model=model, monitor=name, log_evidence=evidence, measured_at=at
            )
        )
    add_performance(tx, rows)
    keep_series(tx, monitor, series, fresh[-1].end)
    when = _days if duration(monitor.spec.block) >= _A_DAY else _minutes
    alarms = [move_alarm(monitor, one, told(one, what, when), at=at, end=block.end, page=page) for block, one in found]
    return [alarm for alarm in alarms if raise_alarm(tx, alarm)]


def move_alarm(monitor: Monitor, moved: Moved, sentence: str, *, at: datetime, end: datetime, page: bool) -> Alarm:
    """The alarm of a move that was seen in the block that ends at `end`."""
    return new_alarm(
        project=monitor.project,
        model=monitor.model,
        monitor=monitor.name,
        kind=MOVED,
        at=utc(at),
        block_start=from_micros(moved.onset),
        block_end=end,
        evidence={
            "sentence": sentence,
            "onset": from_micros(moved.onset).isoformat(),
            "moved": msgspec.to_builtins(moved),
        },
        page=page,
    )


def moves_of(tx: Transaction, monitor: Monitor) -> list[Moved]:
    """All moves that a stored monitor told, in the order of time."""
    mine = [
        one for one in list_alarms(tx, monitor.project) if (one.model, one.monitor) == (monitor.model, monitor.name)
    ]
    return sorted((msgspec.convert(one.evidence["moved"], Moved) for one in mine), key=lambda one: one.seen)


def _days(at: int) -> str:
    return f"{from_micros(at):%Y-%m-%d}"


def _minutes(at: int) -> str:
    return f"{from_micros(at):%Y-%m-%d %H:%M} UTC"
