"""Blocks of what decisions cost, for a monitor of the decision apart from that of the model."""

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl

from loopline.decisions.decision import AnyDecision
from loopline.evaluation.kind import Output
from loopline.evaluation.losses import losses_of
from loopline.monitoring.block import BlockSummary, cut
from loopline.monitoring.risk import Risk
from loopline.values import micros


def cost_blocks(
    predictions: pl.DataFrame, risk: Risk, decision: AnyDecision, actions: Sequence[str], output: Output
) -> list[BlockSummary]:
    """`cut`, with the cost of the decisions taken in place of the loss, at the prices of `decision`.

    The constant to compare with is the cheapest of `actions` in hindsight, taken on every labelled row of the block: where a day is
    dear whatever is done, the decision is not at fault.
    """
    plain = msgspec.structs.replace(risk, loss=losses_of(output.kind)[0])
    at = predictions["at"].dt.convert_time_zone("UTC").dt.timestamp("us").to_numpy()
    label = predictions["label"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    weight = predictions["weight"].to_numpy() if "weight" in predictions.columns else np.ones(len(at))
    priced = [np.asarray(decision.cost(np.full(len(at), action), label), dtype=np.float64) for action in actions]
    found = []
    for block in cut(predictions, plain, decision, output):
        inside = (at > micros(block.start)) & (at <= micros(block.end)) & ~np.isnan(label)
        w = weight[inside] / weight[inside].mean() if block.labelled else np.empty(0)
        constant = min((float((w * cost[inside]).sum()) for cost in priced), default=0.0)
        found.append(msgspec.structs.replace(block, loss=block.cost or 0.0, judged=None, constant=constant))
    return found
