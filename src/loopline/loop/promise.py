"""The promise that a version brings along: what the first champion's monitor will hold it to, whenever it begins to serve."""

from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from loopline.decisions.decision import AnyDecision
from loopline.errors import InvalidInput
from loopline.gates.promotion import CHAMPION
from loopline.loop.further import learnt, spread_of
from loopline.loop.lane import Lane
from loopline.loop.watch import HARM_MONITOR, block_floor
from loopline.models import registry
from loopline.models.registry import ModelVersion
from loopline.monitoring import watch
from loopline.monitoring.block import BlockSummary, cut, large_enough
from loopline.monitoring.kinds import MOST_GROUPS, Fairness, group_monitor, key_of
from loopline.monitoring.parts import group_blocks, values_of
from loopline.monitoring.risk import Reference, Risk, reference_of
from loopline.storage.database import Transaction

PROMISE = "promise"
FURTHER = "further_promises"
_LARGE = 0.05


class Promise(msgspec.Struct, frozen=True):
    """The risk that is watched for, and what it is measured from."""

    risk: Risk
    reference: Reference


def promised(tx: Transaction, lane: Lane, rows: pl.DataFrame, decision: AnyDecision) -> dict[str, Any]:
    """What a version's lineage says of its promise, measured on `rows` it had not seen; nothing where a monitor runs already.

    The first champion's promise holds across retrains: a reference that each retrain resets would let a slow decline pass.
    """
    risk = lane.operation.watch
    if watch.find_monitor(tx, lane.project, lane.model, HARM_MONITOR):
        return {}
    cuts = cut(rows, risk, decision, lane.operation.model.output)
    blocks = [block for block in cuts if block.labelled >= risk.min_rows]
    excesses = [block.excess(risk) for block in blocks]
    try:
        found = reference_of(excesses, starts=[block.start for block in blocks], block=risk.block)
        return {PROMISE: msgspec.to_builtins(Promise(risk, found))}
    except InvalidInput as error:
        raise InvalidInput(
            error.code,
            f"the holdout of {lane.model} gives only {len(excesses)} blocks of {risk.block} to measure its promise on",
            remedy="Lengthen the model's holdout, shorten the risk's block, or lower its min_rows.",
        ) from error


def further_promised(lane: Lane, rows: pl.DataFrame) -> dict[str, Any]:
    """What a version's lineage says of what further monitors are to hold it to, by their names: other risks, and what groups lose above all rows.

    `rows` are as for `promised`, with the features. A monitor that they are too few for is left out, and learns in operation.
    """
    found: dict[str, Promise] = {}
    for watched in lane.operation.also:
        if isinstance(watched, Risk):
            blocks = large_enough(cut(rows, watched, None, lane.operation.model.output), watched.min_rows)
            found |= _told(key_of(watched), watched, blocks)
        elif isinstance(watched, Fairness):
            found |= _of_groups(lane, watched, rows)
    return {FURTHER: msgspec.to_builtins(found)} if found else {}


def _told(name: str, risk: Risk, blocks: list[BlockSummary], at_most: float | None = None) -> dict[str, Promise]:
    try:
        return {name: Promise(risk, learnt(risk, blocks) if at_most is None else spread_of(risk, blocks, at_most))}
    except InvalidInput:
        return {}


def _of_groups(lane: Lane, fair: Fairness, rows: pl.DataFrame) -> dict[str, Promise]:
    """Of every large group, or of none: which groups are watched is said once."""
    by, output = rows[fair.by], lane.operation.model.output
    large = [value for value in values_of(by)[:MOST_GROUPS] if _share(by, value) >= _LARGE]
    risk, found = fair.risk(len(large)), dict[str, Promise]()
    for value in large:
        blocks = large_enough(group_blocks(rows, fair.by, value, fair.loss, fair.block, output), fair.min_rows)
        found |= _told(group_monitor(fair, value), risk, blocks, fair.at_most)
    return found if len(found) == len(large) else {}


def _share(column: pl.Series, value: str) -> float:
    return float((column.cast(pl.String) == value).sum() or 0) / max(len(column), 1)


def references_promised(tx: Transaction, lane: Lane, begins: str) -> dict[str, Reference]:
    """The references that the first champion's held-out rows gave monitors whose name begins so, for those that watch in the same measure."""
    changes = registry.alias_history(tx, lane.project, lane.model, CHAMPION)
    if not changes or changes[0].version is None:
        return {}
    lineage = registry.get_version(tx, lane.project, lane.model, changes[0].version).lineage
    told = msgspec.convert(lineage.get(FURTHER, {}), dict[str, Promise])
    return {
        name: one.reference for name, one in told.items() if name.startswith(begins) and _as_declared(lane, name, one)
    }


def _as_declared(lane: Lane, name: str, one: Promise) -> bool:
    declared = next((each for each in lane.operation.also if name.startswith(key_of(each))), None)
    if declared is None:
        return False
    risk = declared.risk() if isinstance(declared, Fairness) else declared
    return isinstance(risk, Risk) and (risk.loss, risk.baseline, risk.block) == (
        one.risk.loss,
        one.risk.baseline,
        one.risk.block,
    )


def start_watching(tx: Transaction, version: ModelVersion, *, at: datetime) -> None:
    """Start the model's monitor with what this version promised, unless one runs already or it promised nothing."""
    runs = watch.find_monitor(tx, version.project, version.model, HARM_MONITOR)
    if PROMISE not in version.lineage or runs:
        return
    promise = msgspec.convert(version.lineage[PROMISE], Promise)
    watch.start_monitor(
        tx,
        project=version.project,
        model=version.model,
        name=HARM_MONITOR,
        spec=promise.risk,
        reference=promise.reference,
        watermark=block_floor(at, promise.risk.block),
        at=at,
    )
