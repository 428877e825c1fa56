"""Watch the decision apart from the model: what it costs, against what was expected when it was put in force.

Each decision version has a monitor of its own, so that evidence against one says nothing of another. It sees whole blocks
in which that version decided.
"""

from datetime import datetime

import numpy as np
import polars as pl
import structlog

from loopline.decisions.actions import actions_of
from loopline.decisions.decision import AnyDecision, decode_decision
from loopline.errors import InvalidInput
from loopline.evaluation.intervals import paired_by_block
from loopline.evaluation.kind import from_column
from loopline.loop.alarms import record_alarm
from loopline.loop.decision_reference import DecisionReference, of_champion
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.loop.watch import block_floor, matured
from loopline.models import decision_versions
from loopline.monitoring import watch
from loopline.monitoring.alarm import Alarm
from loopline.monitoring.alarm_kinds import DECISION_HARM
from loopline.monitoring.decision_cost import cost_blocks
from loopline.monitoring.risk import Reference, Risk, reference_of
from loopline.storage.database import Transaction

log = structlog.get_logger(__name__)


def decision_monitor(version: int) -> str:
    """The name of the monitor of one decision version."""
    return f"decision:{version}"


def watch_decision(resources: Resources, lane: Lane, history: History, now: datetime) -> list[Alarm]:
    """Let the monitor of the decision in force see every whole block that has matured; gives the alarms raised.

    Nothing happens where the loop declares no `watch_decision`, and before the first decision.
    """
    risk = lane.operation.watch_decision
    if risk is None:
        return []
    with resources.database.transaction() as tx:
        found = _monitor(resources, tx, lane, risk, now)
    if found is None:
        return []
    monitor, since, decision = found
    after = max(monitor.watermark, risk.boundary(since))
    until = block_floor(lane.operation.model.label.mature_until(now), risk.block)
    if until <= after:
        return []
    rows = matured(resources, lane, history, after=after, until=until, now=now)
    blocks = cost_blocks(rows, monitor.spec, decision, actions_of(decision), lane.operation.model.output)
    with resources.database.transaction() as tx:
        alarms = watch.advance(
            tx, project=lane.project, model=lane.model, name=monitor.name, blocks=blocks, at=now, kind=DECISION_HARM
        )
        for alarm in alarms:
            record_alarm(tx, alarm, at=now)
    return alarms


def previous_is_cheaper(
    resources: Resources, lane: Lane, history: History, *, until: datetime, now: datetime, least_blocks: int
) -> bool:
    """Whether the decision before the last change would have cost less since, on the same rows and at the prices of now: surely,
    by the 95 % interval over blocks.
    """
    with resources.database.reading() as tx:
        changes = decision_versions.decision_history(tx, lane.project, lane.model)
        before = decision_versions.previous_decision(tx, lane.project, lane.model)
        if before is None:
            return False
        earlier = _decision(tx, lane, before)
        present = _decision(tx, lane, changes[-1].version or 0)
    since = changes[-1].from_at
    if until <= since:
        return False
    rows = matured(resources, lane, history, after=since, until=until, now=now).filter(pl.col("label").is_not_null())
    risk = lane.operation.watch_decision or lane.operation.watch
    blocks = rows["at"].dt.truncate(risk.block)
    if blocks.n_unique() < least_blocks:
        return False
    output = lane.operation.model.output
    outputs = output.shaped(from_column(rows[output.column]))
    label = rows["label"].to_numpy()
    was, is_ = (present.cost(one.decide(outputs), label) for one in (earlier, present))
    return bool(np.isfinite(was).all() and paired_by_block(was, is_, blocks.to_numpy()).upper < 0)


def _decision(tx: Transaction, lane: Lane, version: int) -> AnyDecision:
    return decode_decision(decision_versions.get_decision(tx, lane.project, lane.model, version).body)


def _monitor(
    resources: Resources, tx: Transaction, lane: Lane, risk: Risk, now: datetime
) -> tuple[watch.Monitor, datetime, AnyDecision] | None:
    """The monitor of the decision in force, started where it is new, since when that decides, and the decision."""
    changes = decision_versions.decision_history(tx, lane.project, lane.model)
    if not changes or changes[-1].version is None:
        return None
    name, since = decision_monitor(changes[-1].version), changes[-1].from_at
    decision = _decision(tx, lane, changes[-1].version)
    known = watch.find_monitor(tx, lane.project, lane.model, name)
    if known is not None:
        return known, since, decision
    _, reference = of_champion(resources, tx, lane.project, lane.model)
    expected = _expectation(lane, risk, reference, decision)
    if expected is None:
        return None
    scope = {"project": lane.project, "model": lane.model, "name": name}
    made = watch.start_monitor(tx, **scope, spec=risk, reference=expected, watermark=since, at=now)
    return made, since, decision


def _expectation(lane: Lane, risk: Risk, kept: DecisionReference, decision: AnyDecision) -> Reference | None:
    """What the decision is expected to cost in a block, from the champion's held-out rows; None where they are too few to say."""
    costs, label, blocks = kept.costs(decision), np.array(kept.labels), np.array(kept.blocks)
    excesses = []
    for block in np.unique(blocks):
        inside = blocks == block
        if inside.sum() < risk.min_rows:
            continue
        cheapest = [decision.cost(np.full(inside.sum(), one), label[inside]).mean() for one in actions_of(decision)]
        baseline = min(cheapest, default=0.0) if risk.baseline == "base_rate" else 0.0
        excesses.append(float(costs[inside].mean() - baseline))
    try:
        return reference_of(excesses)
    except InvalidInput as error:
        log.warning("decision_not_watched", project=lane.project, model=lane.model, why=error.message)
        return None
