"""Measured performance: one row for each block that a monitor saw."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from loopline.monitoring import store
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.risk import Risk
from loopline.storage.database import Transaction
from loopline.values import utc


class Performance(msgspec.Struct, frozen=True):
    """What was measured of one block; means over labelled rows, None where there are none."""

    project: str
    model: str
    monitor: str
    block_start: datetime
    block_end: datetime
    model_version: str
    predictions: int
    labelled: int
    coverage: float
    base_rate: float | None
    mean_score: float | None
    loss: float | None
    log_loss: float | None
    brier: float | None
    baseline_loss: float | None
    excess: float | None
    cost: float | None
    abstained: int
    log_evidence: float
    measured_at: datetime


def measure(
    block: BlockSummary,
    risk: Risk,
    *,
    project: str,
    model: str,
    monitor: str,
    log_evidence: float,
    measured_at: datetime,
) -> Performance:
    """The performance of a block under a risk."""

    def mean(total: float | None) -> float | None:
        return total / block.labelled if block.labelled and total is not None else None

    return Performance(
        project=project,
        model=model,
        monitor=monitor,
        block_start=block.start,
        block_end=block.end,
        model_version=block.model_version,
        predictions=block.predictions,
        labelled=block.labelled,
        coverage=block.coverage,
        base_rate=mean(block.positives),
        mean_score=mean(block.expected),
        loss=block.loss / block.units if block.labelled else None,
        log_loss=mean(block.log_loss),
        brier=mean(block.brier),
        baseline_loss=block.baseline_loss(risk) if block.labelled else None,
        excess=block.excess(risk) if block.labelled else None,
        cost=mean(block.cost),
        abstained=block.abstained,
        log_evidence=log_evidence,
        measured_at=utc(measured_at),
    )


def add_performance(tx: Transaction, rows: Sequence[Performance]) -> None:
    """Keep what was measured."""
    store.add_performance(tx, [msgspec.structs.asdict(row) for row in rows])


def read_performance(
    tx: Transaction,
    project: str,
    model: str,
    name: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[Performance]:
    """What was measured of the blocks that end in (start, end], in the order of time; None is without bound."""
    return [Performance(**row) for row in store.read_performance(tx, project, model, name, start=start, end=end)]
