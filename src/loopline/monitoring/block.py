"""A block: the predictions of one stretch of time whose labels have matured, as sums that merge exactly."""

from collections.abc import Iterable
from datetime import datetime
from functools import reduce

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.decisions.policy import ABSTAIN, Decision
from loopline.errors import InvalidInput
from loopline.evaluation.losses import brier, log_loss, named
from loopline.monitoring.risk import Risk
from loopline.values import MICROSECOND, duration, from_micros, utc

Floats = npt.NDArray[np.float64]


class BlockSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of the predictions made in (start, end], UTC. Losses, `expected` and `cost` are sums over labelled rows.

    `loss` is the sum of the risk's own loss, `baseline` the same for the baseline's scores where such are given,
    `expected` the sum of the scores, `positives` that of the labels. `model_version` joins several with a comma.
    """

    start: datetime
    end: datetime
    predictions: int
    labelled: int
    positives: int
    expected: float
    loss: float
    log_loss: float
    brier: float
    baseline: float | None = None
    cost: float | None = None
    abstained: int = 0
    model_version: str = ""

    @property
    def base_rate(self) -> float:
        """Share of positives among the labelled rows."""
        return self.positives / self.labelled

    @property
    def coverage(self) -> float:
        """Share of the predictions that have a score and a label."""
        return self.labelled / self.predictions if self.predictions else 0.0

    def baseline_loss(self, risk: Risk) -> float:
        """Mean loss of the contemporaneous baseline on the same rows; needs labelled rows."""
        if risk.baseline == "none":
            return 0.0
        if risk.baseline == "base_rate":
            return named(risk.loss).of_base_rate(self.base_rate)
        if self.baseline is None:
            raise InvalidInput(
                "monitor.no_baseline",
                f"the block to {self.end.isoformat()} has no baseline scores, which the risk compares with",
                remedy='Give baseline scores for every row, or watch against "base_rate".',
            )
        return self.baseline / self.labelled

    def excess(self, risk: Risk) -> float:
        """Mean loss above the baseline's; needs labelled rows. Negative where the model knows more than the baseline."""
        return self.loss / self.labelled - self.baseline_loss(risk)


def summarise(
    start: datetime,
    end: datetime,
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    loss: str = "log_loss",
    baseline: npt.ArrayLike | None = None,
    decision: Decision | None = None,
    decisions: npt.ArrayLike | None = None,
    model_version: str = "",
) -> BlockSummary:
    """Sum up the predictions of (start, end].

    `scores` and `labels` have shape (rows,); NaN is a score that was not made or a label that is not known, and such a row
    counts as a prediction only. `baseline` holds other scores for the same rows. With `decision` the costs are summed too, of
    the `decisions` taken or else of those it takes now. Raises `InvalidInput` for other shapes or labels than 0 and 1.
    """
    p, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    known = ~np.isnan(p) & ~np.isnan(y)
    _check(p, y, known)
    rows_loss, p_known, y_known = named(loss).rows, p[known], y[known]
    taken = _taken(p, decision, decisions)
    return BlockSummary(
        start=utc(start),
        end=utc(end),
        predictions=len(p),
        labelled=int(known.sum()),
        positives=int(y_known.sum()),
        expected=float(p_known.sum()),
        loss=float(rows_loss(p_known, y_known).sum()),
        log_loss=float(log_loss(p_known, y_known).sum()),
        brier=float(brier(p_known, y_known).sum()),
        baseline=None
        if baseline is None
        else _baseline_sum(loss, np.asarray(baseline, dtype=np.float64)[known], y_known),
        cost=None if decision is None or taken is None else float(decision.cost(taken[known], y_known).sum()),
        abstained=0 if taken is None else int((taken == ABSTAIN).sum()),
        model_version=model_version,
    )


def _check(p: Floats, y: Floats, known: npt.NDArray[np.bool_]) -> None:
    if p.ndim != 1 or p.shape != y.shape:
        raise InvalidInput(
            "monitor.shapes",
            f"scores of shape {p.shape} do not go with labels of shape {y.shape}",
            remedy="Give two arrays of the same length.",
        )
    if not np.isin(y[known], (0, 1)).all():
        raise InvalidInput("monitor.labels", "labels must be 0 or 1", remedy="Use NaN where a label is not known.")


def _taken(p: Floats, decision: Decision | None, decisions: npt.ArrayLike | None) -> npt.NDArray[np.str_] | None:
    if decisions is not None:
        return np.asarray(decisions, dtype=np.str_)
    return decision.decide(p) if decision else None


def _baseline_sum(loss: str, baseline: Floats, y: Floats) -> float:
    if np.isnan(baseline).any():
        raise InvalidInput(
            "monitor.baseline_missing",
            "a labelled row has no baseline score",
            remedy="Score the baseline on the same rows as the model.",
        )
    return float(named(loss).rows(baseline, y).sum())


def merge(first: BlockSummary, second: BlockSummary) -> BlockSummary:
    """Both blocks as one, from the earlier start to the later end."""
    versions = [*first.model_version.split(","), *second.model_version.split(",")]
    return BlockSummary(
        start=min(first.start, second.start),
        end=max(first.end, second.end),
        predictions=first.predictions + second.predictions,
        labelled=first.labelled + second.labelled,
        positives=first.positives + second.positives,
        expected=first.expected + second.expected,
        loss=first.loss + second.loss,
        log_loss=first.log_loss + second.log_loss,
        brier=first.brier + second.brier,
        baseline=_sum_known(first.baseline, second.baseline),
        cost=_sum_known(first.cost, second.cost),
        abstained=first.abstained + second.abstained,
        model_version=",".join(dict.fromkeys(version for version in versions if version)),
    )


def _sum_known(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def large_enough(blocks: Iterable[BlockSummary], min_rows: int) -> list[BlockSummary]:
    """The blocks with each that has fewer than `min_rows` labelled rows merged into the next; a small last one is left out."""
    full: list[BlockSummary] = []
    pending: BlockSummary | None = None
    for block in blocks:
        pending = merge(pending, block) if pending else block
        if pending.labelled >= min_rows:
            full.append(pending)
            pending = None
    return full


def cut(predictions: pl.DataFrame, risk: Risk, decision: Decision | None = None) -> list[BlockSummary]:
    """Cut predictions into the risk's blocks, in the order of time; a stretch without predictions gives no block.

    `predictions` has columns `at` (Datetime with a zone), `score` (float, null = not made), `label` (0, 1, boolean or null) and
    may have `baseline` (float), `decision` and `model_version` (text). Blocks are (start, end] and begin at whole
    multiples of their length from 1970-01-01 UTC, so blocks of a day are days of UTC.
    """
    length = duration(risk.block) // MICROSECOND
    at = pl.col("at").dt.convert_time_zone("UTC").dt.timestamp("us")
    numbered = predictions.with_columns(_end=((at + length - 1) // length) * length)
    groups = numbered.sort("_end", maintain_order=True).partition_by("_end", as_dict=True, maintain_order=True)
    return [_block(group, int(end), length, risk, decision) for (end,), group in groups.items()]


def _block(group: pl.DataFrame, end: int, length: int, risk: Risk, decision: Decision | None) -> BlockSummary:
    def column(name: str) -> Floats | None:
        return group[name].cast(pl.Float64).fill_null(np.nan).to_numpy() if name in group.columns else None

    return summarise(
        from_micros(end - length),
        from_micros(end),
        group["score"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        group["label"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        loss=risk.loss,
        baseline=column("baseline"),
        decision=decision,
        decisions=group["decision"].to_numpy() if "decision" in group.columns else None,
        model_version=_versions(group),
    )


def _versions(group: pl.DataFrame) -> str:
    if "model_version" not in group.columns:
        return ""
    return ",".join(group["model_version"].drop_nulls().unique(maintain_order=True).cast(pl.String).to_list())


def total(blocks: Iterable[BlockSummary]) -> BlockSummary:
    """All blocks as one. Raises `InvalidInput` without any."""
    given = list(blocks)
    if not given:
        raise InvalidInput("monitor.no_blocks", "there is no block to sum up")
    return reduce(merge, given)
