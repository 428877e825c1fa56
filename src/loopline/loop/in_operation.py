"""How a version did in operation: what its monitors measured by month, and the health of what it answered."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

import msgspec
import polars as pl

from loopline.evaluation.held_out import Estimate, of_blocks
from loopline.loop.resources import Resources
from loopline.loop.watch import HARM_MONITOR
from loopline.monitoring.performance import Performance, read_performance
from loopline.monitoring.watch import list_monitors
from loopline.scoring.record import prediction_table
from loopline.storage.database import Transaction
from loopline.values import MICROSECOND


class Month(msgspec.Struct, frozen=True, kw_only=True):
    """What one month (`YYYY-MM`, UTC) of a version's predictions showed once their labels had matured."""

    month: str
    predictions: int
    labelled: int
    loss: Estimate | None
    baseline: float | None
    cost: Estimate | None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Of a version's predictions, how many were not in full health, and by which codes (without what comes after the colon)."""

    predictions: int
    degraded: int
    codes: dict[str, int]


def months_of(tx: Transaction, project: str, model: str, version: int) -> tuple[str, tuple[Month, ...]]:
    """The watched loss and the months, oldest first, of the blocks that this version alone answered."""
    monitors = [one for one in list_monitors(tx, project) if one.model == model]
    if not monitors:
        return "", ()
    monitor = next((one for one in monitors if one.name == HARM_MONITOR), monitors[0])
    rows = read_performance(tx, project, model, monitor.name)
    own = [row for row in rows if row.model_version == str(version)]
    by_month = groupby(own, key=lambda row: f"{row.block_end - MICROSECOND:%Y-%m}")
    return monitor.spec.loss, tuple(_month(month, list(found)) for month, found in by_month)


def health_of(resources: Resources, project: str, model: str, version: int) -> Health | None:
    """None where it never answered."""
    name = prediction_table(project, model)
    if not resources.tables.exists(name):
        return None
    rows = resources.tables.open(name).read(where=pl.col("model_version") == version, columns=["degraded"])
    if not rows.height:
        return None
    codes = rows["degraded"].list.eval(pl.element().str.split(":").list.first()).list.unique()
    counts = Counter(codes.explode().drop_nulls().to_list())
    degraded = int((rows["degraded"].list.len().fill_null(0) > 0).sum())
    return Health(predictions=rows.height, degraded=degraded, codes=dict(sorted(counts.items())))


def _month(month: str, rows: Sequence[Performance]) -> Month:
    known = [row for row in rows if row.labelled and row.loss is not None]
    priced = [row for row in known if row.cost is not None]
    labelled = [row.labelled for row in known]
    based = [row for row in known if row.baseline_loss is not None]
    total = sum(row.labelled for row in based)
    return Month(
        month=month,
        predictions=sum(row.predictions for row in rows),
        labelled=sum(labelled),
        loss=of_blocks([row.loss or 0.0 for row in known], labelled),
        baseline=sum((row.baseline_loss or 0.0) * row.labelled for row in based) / total if total else None,
        cost=of_blocks([row.cost or 0.0 for row in priced], [row.labelled for row in priced]),
    )
