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
    """What was measured of one block; means over labelled rows, None where there are none.

    Every prediction is labelled, censored or neither. Means are weighted where rows are censored; `effective_rows` is what the labelled
    rows say as much as then. `restated` is 0 for what the monitor saw, and counts up with each later measurement
    of the same block, after labels that came late or were corrected: those change no evidence.
    """

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
    censored: int = 0
    effective_rows: float | None = None
    restated: int = 0

    @property
    def unlabelled(self) -> int:
        """Predictions of whose outcome nothing is known."""
        return self.predictions - self.labelled - self.censored


def measure(
    block: BlockSummary,
    risk: Risk,
    *,
    project: str,
    model: str,
    monitor: str,
    log_evidence: float,
    measured_at: datetime,
    restated: int = 0,
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
        censored=block.censored,
        effective_rows=block.effective,
        restated=restated,
    )


def add_performance(tx: Transaction, rows: Sequence[Performance]) -> None:
    """Keep what was measured."""
    store.add_performance(tx, [msgspec.structs.asdict(row) for row in rows])


def add_restated(
    tx: Transaction, found: Sequence[tuple[Performance, BlockSummary]], risk: Risk, *, at: datetime
) -> int:
    """Keep what blocks that were measured before come to now, where that is another; gives how many did.

    Kept again at the same time, or with the same figures, nothing changes. The evidence is what it was.
    """
    rows = [
        measure(
            block,
            risk,
            project=known.project,
            model=known.model,
            monitor=known.monitor,
            log_evidence=known.log_evidence,
            measured_at=at,
            restated=known.restated + 1,
        )
        for known, block in found
    ]
    news = [row for (known, _), row in zip(found, rows, strict=True) if _figures(row) != _figures(known)]
    add_performance(tx, news)
    return len(news)


def _figures(row: Performance) -> tuple[object, ...]:
    return row.labelled, row.censored, row.base_rate, row.loss, row.cost


def read_performance(
    tx: Transaction,
    project: str,
    model: str,
    name: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[Performance]:
    """What the monitor saw of the blocks that end in (start, end], in the order of time; None is without bound."""
    rows = store.read_performance(tx, project, model, name, start=start, end=end)
    return [Performance(**row) for row in rows if not row["restated"]]


def read_restated(tx: Transaction, project: str, model: str, name: str) -> list[Performance]:
    """The newest measurement of each block that was measured again, in the order of time."""
    rows = store.read_performance(tx, project, model, name, start=None, end=None)
    newest = {row["block_start"]: Performance(**row) for row in rows if row["restated"]}
    return list(newest.values())
