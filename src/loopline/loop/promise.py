"""The promise that a version brings along: what the first champion's monitor will hold it to, whenever it begins to serve."""

from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from loopline.decisions.decision import AnyDecision
from loopline.errors import InvalidInput
from loopline.loop.lane import Lane
from loopline.loop.watch import HARM_MONITOR, block_floor
from loopline.models.registry import ModelVersion
from loopline.monitoring import watch
from loopline.monitoring.block import cut
from loopline.monitoring.risk import Reference, Risk, reference_of
from loopline.storage.database import Transaction

PROMISE = "promise"


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
