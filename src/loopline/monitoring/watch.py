"""Monitors over stored state: each block counts exactly once, with its performance and alarms, in the caller's transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.evidence.e_sr import log_threshold
from loopline.monitoring import store
from loopline.monitoring.alarm import Alarm, new_alarm, raise_alarm
from loopline.monitoring.alarm_kinds import HARM
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.dependence import of_season
from loopline.monitoring.episode import find_episode
from loopline.monitoring.performance import Performance, add_performance, measure, read_performance
from loopline.monitoring.risk import CHANGE, Reference, Risk
from loopline.monitoring.state import HarmEvidence, MonitorState, observe, with_interval
from loopline.storage.database import Transaction
from loopline.values import duration, utc

LOOK_BACK = 120
"""So many blocks are looked through for where a harm began."""


class Monitor(msgspec.Struct, frozen=True):
    """A stored monitor. Blocks up to and including `watermark` have been seen."""

    project: str
    model: str
    name: str
    spec: Risk
    reference: Reference
    state: MonitorState
    watermark: datetime
    started_at: datetime

    @property
    def evidence(self) -> float:
        """The evidence against the model as a share of what an alarm takes, on the scale of logs: from 0 to 1."""
        return max(0.0, self.state.process.log_evidence / log_threshold(self.spec.threshold))

    @property
    def allowed(self) -> float:
        """The excess that is no harm yet."""
        return self.reference.upper + self.spec.tolerance

    @property
    def of_change(self) -> bool:
        """Whether it tells where a figure moved, and holds it to nothing."""
        return self.name.startswith(CHANGE)


def start_monitor(
    tx: Transaction,
    *,
    project: str,
    model: str,
    name: str,
    spec: Risk,
    reference: Reference,
    watermark: datetime,
    at: datetime,
    memory: Any = None,
) -> Monitor:
    """Start to watch `model` from the first block that begins at or after `watermark`; one it falls into is left out.

    Starting the same monitor again gives the stored one and changes nothing, however far it is. Raises `Conflict` where the
    name stands for another risk.
    """
    row = {
        "project": project,
        "model": model,
        "name": name,
        "spec": spec,
        "reference": reference,
        "state": MonitorState(memory=memory),
        "watermark": spec.boundary(watermark),
        "started_at": utc(at),
    }
    added = store.add_monitor(tx, row)
    stored = read_monitor(tx, project, model, name)
    if not added and stored.spec != spec:
        raise Conflict(
            "monitor.other_spec",
            f"monitor {name!r} of {model!r} watches another risk already",
            remedy="Use another name, or change_risk to start it afresh.",
        )
    return stored


def read_monitor(tx: Transaction, project: str, model: str, name: str) -> Monitor:
    """The monitor as stored. Raises `NotFound`."""
    return _read(tx, project, model, name, lock=False)


def lock_monitor(tx: Transaction, project: str, model: str, name: str) -> Monitor:
    """The monitor as stored, which nobody else changes until the transaction ends. Raises `NotFound`."""
    return _read(tx, project, model, name, lock=True)


def fresh_blocks(
    tx: Transaction, *, project: str, model: str, name: str, blocks: Sequence[BlockSummary]
) -> tuple[Monitor, list[BlockSummary]]:
    """The monitor, locked, and those of the blocks that it has not seen.

    Raises `NotFound`, `InvalidInput` for blocks out of order, and `Conflict` for a block of which a part was counted already.
    """
    _check_order(blocks)
    monitor = lock_monitor(tx, project, model, name)
    fresh = [block for block in blocks if block.end > monitor.watermark]
    if fresh:
        _check_watermark(monitor, fresh[0])
    return monitor, fresh


def write_state(tx: Transaction, monitor: Monitor, state: MonitorState) -> None:
    """Keep another state of a monitor that was locked; its watermark stays."""
    store.write_monitor(tx, monitor.project, monitor.model, monitor.name, {"state": state})


def find_monitor(tx: Transaction, project: str, model: str, name: str) -> Monitor | None:
    """The monitor as stored; None where there is none."""
    row = store.read_monitor(tx, project, model, name)
    return None if row is None else _monitor(row)


def list_monitors(tx: Transaction, project: str) -> list[Monitor]:
    """All monitors of a project, by model and name."""
    return [_monitor(row) for row in store.read_monitors(tx, project)]


def watched_projects(tx: Transaction) -> list[str]:
    """The projects that have a monitor, in their order."""
    return store.read_projects(tx)


def set_reference(tx: Transaction, *, project: str, model: str, name: str, reference: Reference) -> None:
    """Measure from another reference from now on; the evidence against the old one is dropped.

    For a person to decide: a retrain must not call it, or a slow decline would never be seen. Raises `NotFound`.
    """
    _read(tx, project, model, name, lock=True)
    store.write_monitor(tx, project, model, name, {"reference": reference, "state": MonitorState()})


def change_risk(tx: Transaction, *, project: str, model: str, name: str, spec: Risk, reference: Reference) -> None:
    """Watch for another risk from the watermark on, with nothing held against the model yet. Raises `NotFound`."""
    memory = _read(tx, project, model, name, lock=True).state.memory
    changes = {"spec": spec, "reference": reference, "state": MonitorState(memory=memory)}
    store.write_monitor(tx, project, model, name, changes)


def advance(
    tx: Transaction,
    *,
    project: str,
    model: str,
    name: str,
    blocks: Sequence[BlockSummary],
    at: datetime,
    kind: str = HARM,
    page: bool = True,
    told: Callable[[HarmEvidence], str] | None = None,
) -> list[Alarm]:
    """Let the monitor see matured blocks, in the order of time, and give the alarms they raised, of this kind.

    `told` says in words what an alarm's evidence is, where it is not that of a promise that was broken.

    Writes the performance rows, alarms, state and watermark. Blocks that end at or before the watermark are skipped, so a
    retry changes nothing. Raises `NotFound`, `InvalidInput` for blocks out of order, and `Conflict` for a block that
    begins before the watermark and ends after it: part of it was counted already.
    """
    watch, fresh = fresh_blocks(tx, project=project, model=model, name=name, blocks=blocks)
    if not fresh:
        return []
    rows: list[Performance] = []
    alarms, state = [], watch.state
    for block in fresh:
        observed = observe(watch.spec, watch.reference, state, block)
        evidence = observed.harm.log_evidence if observed.harm else observed.state.process.log_evidence
        rows.append(
            measure(
                block, watch.spec, project=project, model=model, monitor=name, log_evidence=evidence, measured_at=at
            )
        )
        if observed.harm:
            found = _dated(tx, watch, observed.harm, rows)
            if told is not None:
                found = msgspec.structs.replace(found, sentence=told(found))
            alarms.append(_alarm(watch, state, block, msgspec.to_builtins(found), at, kind=kind, page=page))
        state = msgspec.structs.replace(observed.state, memory=block.memory)
    add_performance(tx, rows)
    store.write_monitor(tx, project, model, name, {"state": state, "watermark": fresh[-1].end})
    return [alarm for alarm in alarms if raise_alarm(tx, alarm)]


def _dated(tx: Transaction, watch: Monitor, found: HarmEvidence, rows: Sequence[Performance]) -> HarmEvidence:
    """The evidence with the interval of its onset, from the last blocks that the monitor measured; `rows` are not stored yet."""
    since = rows[-1].block_end - LOOK_BACK * duration(watch.spec.block)
    stored = read_performance(tx, watch.project, watch.model, watch.name, start=since)
    known = [row for row in [*stored, *rows] if row.excess is not None]
    excesses = np.array([row.excess for row in known], dtype=np.float64)
    excesses -= of_season(watch.reference.season, [row.block_start for row in known], watch.spec.block)
    one = find_episode(excesses, watch.reference.mean, watch.reference.spread, watch.allowed, len(known) - 1)
    return with_interval(watch.spec, found, known[one.earliest].block_start, known[one.latest].block_start)


def _read(tx: Transaction, project: str, model: str, name: str, *, lock: bool) -> Monitor:
    row = store.read_monitor(tx, project, model, name, lock=lock)
    if row is None:
        raise NotFound(
            "monitor.unknown",
            f"model {model!r} of project {project!r} has no monitor {name!r}",
            remedy="Start it with start_monitor first.",
        )
    return _monitor(row)


def _monitor(row: dict[str, Any]) -> Monitor:
    return Monitor(
        project=row["project"],
        model=row["model"],
        name=row["name"],
        spec=msgspec.convert(row["spec"], Risk),
        reference=msgspec.convert(row["reference"], Reference),
        state=msgspec.convert(row["state"], MonitorState),
        watermark=row["watermark"],
        started_at=row["started_at"],
    )


def _check_order(blocks: Sequence[BlockSummary]) -> None:
    last: datetime | None = None
    for block in blocks:
        if block.end <= block.start or (last is not None and block.start < last):
            raise InvalidInput(
                "monitor.order",
                f"the block from {block.start.isoformat()} to {block.end.isoformat()} does not follow the one before",
                remedy="Give blocks that do not overlap, in the order of time.",
            )
        last = block.end


def _check_watermark(watch: Monitor, first: BlockSummary) -> None:
    if first.start < watch.watermark:
        raise Conflict(
            "monitor.counted_already",
            f"the block from {first.start.isoformat()} begins before the watermark {watch.watermark.isoformat()}",
            remedy="Cut blocks as they were cut before, from the watermark on.",
        )


def _alarm(
    watch: Monitor,
    before: MonitorState,
    block: BlockSummary,
    evidence: dict[str, Any],
    at: datetime,
    *,
    kind: str,
    page: bool,
) -> Alarm:
    return new_alarm(
        project=watch.project,
        model=watch.model,
        monitor=watch.name,
        kind=kind,
        at=utc(at),
        block_start=before.pending.start if before.pending else block.start,
        block_end=block.end,
        evidence=evidence,
        page=page,
    )
