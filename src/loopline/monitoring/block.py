"""A block: the predictions of one stretch of time whose labels have matured, as sums that merge exactly."""

import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import reduce
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.decisions.decision import AnyDecision
from loopline.decisions.policy import ABSTAIN
from loopline.errors import InvalidInput
from loopline.evaluation.kind import BINARY, Output, from_column
from loopline.evaluation.losses import Loss, brier, log_loss, named
from loopline.evaluation.weights import effective_rows
from loopline.monitoring.risk import Risk
from loopline.values import MICROSECOND, duration, from_micros, utc

Floats = npt.NDArray[np.float64]


class BlockSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of the predictions made in (start, end], UTC. Losses, `expected` and `cost` are sums over labelled rows.

    `loss` is the sum of the risk's own loss, `baseline` the same for the baseline's scores where such are given, `constant` for the
    best constant of the block where that does not follow from the base rate. They are sums over `judged` groups where the loss
    is one of groups. `expected` is the sum of the scores, `positives` that of the labels; `log_loss` and `brier` are there for
    two classes. `model_version` joins several with a comma. Where rows weigh differently, each sum is over weights that
    add up to `labelled`, which say as much as `effective` rows (Kish); `censored` counts rows whose label is known in part. `chance` is the
    variance that chance of our own making adds to `loss`: which labels were asked for. `memory` is what a custom monitor remembers after it.
    """

    start: datetime
    end: datetime
    predictions: int
    labelled: int
    positives: float
    expected: float
    loss: float
    log_loss: float | None = None
    brier: float | None = None
    judged: int | None = None
    constant: float | None = None
    baseline: float | None = None
    cost: float | None = None
    abstained: int = 0
    model_version: str = ""
    censored: int = 0
    effective: float | None = None
    chance: float | None = None
    memory: Any = None

    @property
    def base_rate(self) -> float:
        """Share of positives among the labelled rows, or their mean label."""
        return self.positives / self.labelled

    @property
    def units(self) -> int:
        """How many losses are summed: labelled rows, or groups of them."""
        return self.labelled if self.judged is None else self.judged

    @property
    def coverage(self) -> float:
        """Share of the predictions that have a score and a label."""
        return self.labelled / self.predictions if self.predictions else 0.0

    def baseline_loss(self, risk: Risk) -> float:
        """Mean loss of the contemporaneous baseline on the same rows; needs labelled rows."""
        if risk.baseline == "none":
            return 0.0
        if risk.baseline == "base_rate":
            if self.constant is not None:
                return self.constant / self.units
            of_base_rate = named(risk.loss).of_base_rate
            return of_base_rate(self.base_rate) if of_base_rate else 0.0
        if self.baseline is None:
            raise InvalidInput(
                "monitor.no_baseline",
                f"the block to {self.end.isoformat()} has no baseline scores, which the risk compares with",
                remedy='Give baseline scores for every row, or watch against "base_rate".',
            )
        return self.baseline / self.units

    def remembering(self, memory: Any) -> "BlockSummary":
        """The same, after which a custom monitor remembers this."""
        return msgspec.structs.replace(self, memory=memory)

    @property
    def spread(self) -> float:
        """How far the mean loss varies by chance of our own making, a standard deviation."""
        return math.sqrt(self.chance or 0.0) / max(self.units, 1)

    def excess(self, risk: Risk) -> float:
        """Mean loss above the baseline's; needs labelled rows. Negative where the model knows more than the baseline."""
        return self.loss / self.units - self.baseline_loss(risk)


def summarise(
    start: datetime,
    end: datetime,
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    loss: str = "log_loss",
    baseline: npt.ArrayLike | None = None,
    decision: AnyDecision | None = None,
    decisions: npt.ArrayLike | None = None,
    model_version: str = "",
    output: Output = BINARY,
    groups: npt.NDArray[Any] | None = None,
    weights: npt.ArrayLike | None = None,
    censored: int = 0,
) -> BlockSummary:
    """Sum up the predictions of (start, end].

    `scores` are outputs as `output` says and `labels` have shape (rows,); NaN is an output that was not made or a label that is
    not known, and such a row counts as a prediction only. `baseline` holds other outputs for the same rows, `groups` what group
    a row is of, for a loss of groups; `weights` how much a row counts for. With `decision` the costs are summed too, of the `decisions` taken or else of those it takes
    now. Raises `InvalidInput` for other shapes, or labels of two classes that are neither 0 nor 1.
    """
    p, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    _check(p, y, output)
    known = ~np.isnan(p if p.ndim == 1 else p.sum(axis=1)) & ~np.isnan(y)
    judge, p_known, y_known = named(loss, output), p[known], y[known]
    w = _relative(weights, known)
    taken = _taken(p, decision, decisions)
    losses = judge.rows(p_known, y_known, None if groups is None else groups[known])
    two = output.kind == "binary"
    return BlockSummary(
        start=utc(start),
        end=utc(end),
        predictions=len(p),
        labelled=int(known.sum()),
        positives=float((w * y_known).sum()),
        expected=float((w * output.scores(p_known)).sum()),
        loss=float(np.nansum(losses if judge.grouped else w * losses)),
        log_loss=float((w * log_loss(p_known, y_known)).sum()) if two else None,
        brier=float((w * brier(p_known, y_known)).sum()) if two else None,
        judged=int((~np.isnan(losses)).sum()) if judge.grouped else None,
        constant=None
        if judge.of_base_rate
        else float(np.nansum(judge.best_constant(p_known, y_known, None if groups is None else groups[known]))),
        baseline=None
        if baseline is None
        else _baseline_sum(judge, np.asarray(baseline, dtype=np.float64)[known], y_known),
        cost=None if decision is None or taken is None else float((w * decision.cost(taken[known], y_known)).sum()),
        abstained=0 if taken is None else int((taken == ABSTAIN).sum()),
        model_version=model_version,
        censored=censored,
        effective=None if weights is None else effective_rows(w),
    )


def _relative(weights: npt.ArrayLike | None, known: npt.NDArray[np.bool_]) -> Floats:
    """Weights of the labelled rows, with a mean of 1."""
    if weights is None:
        return np.ones(int(known.sum()))
    w = np.asarray(weights, dtype=np.float64)[known]
    return w / w.mean() if len(w) and w.sum() else np.ones(len(w))


def _check(p: Floats, y: Floats, output: Output) -> None:
    if y.ndim != 1 or p.shape != ((len(y), output.width) if output.wide else y.shape):
        raise InvalidInput(
            "monitor.shapes",
            f"scores of shape {p.shape} do not go with labels of shape {y.shape}",
            remedy="Give two arrays of the same length.",
        )
    places = max(output.width, 2)  # of two classes the outputs are one column
    if output.kind in {"binary", "multiclass"} and not np.isin(y[~np.isnan(y)], np.arange(places)).all():
        raise InvalidInput(
            "monitor.labels",
            f"labels must be {' or '.join(map(str, range(places)))}",
            remedy="Use NaN where a label is not known.",
        )


def _taken(p: Floats, decision: AnyDecision | None, decisions: npt.ArrayLike | None) -> npt.NDArray[np.str_] | None:
    if decisions is not None:
        return np.asarray(decisions, dtype=np.str_)
    return decision.decide(p) if decision else None


def _baseline_sum(loss: Loss, baseline: Floats, y: Floats) -> float:
    if np.isnan(baseline).any():
        raise InvalidInput(
            "monitor.baseline_missing",
            "a labelled row has no baseline score",
            remedy="Score the baseline on the same rows as the model.",
        )
    return float(np.nansum(loss.rows(baseline, y)))


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
        log_loss=_sum_known(first.log_loss, second.log_loss),
        brier=_sum_known(first.brier, second.brier),
        judged=_sum_judged(first, second),
        constant=_sum_known(first.constant, second.constant),
        baseline=_sum_known(first.baseline, second.baseline),
        cost=_sum_known(first.cost, second.cost),
        abstained=first.abstained + second.abstained,
        model_version=",".join(dict.fromkeys(version for version in versions if version)),
        censored=first.censored + second.censored,
        effective=_sum_known(first.effective, second.effective),
        memory=second.memory,
        chance=_sum_known(first.chance, second.chance),
    )


def _sum_known(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _sum_judged(first: BlockSummary, second: BlockSummary) -> int | None:
    return None if first.judged is None or second.judged is None else first.judged + second.judged


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


def cut(
    predictions: pl.DataFrame, risk: Risk, decision: AnyDecision | None = None, output: Output = BINARY
) -> list[BlockSummary]:
    """Cut predictions into the risk's blocks, in the order of time; a stretch without predictions gives no block.

    `predictions` has columns `at` (Datetime with a zone), `score` (float, null = not made; where rows have several outputs
    `outputs`, lists), `label` (number, boolean or null) and may have `baseline` (as the outputs), `decision`, `model_version` and
    `group` (text). Blocks are (start, end] and begin at whole
    multiples of their length from 1970-01-01 UTC (with `weight` and `censored`, rows count for their weight), so blocks of a day are days of UTC.
    """
    return [
        _block(start, end, group, risk, decision, output) for start, end, group in blocks_of(predictions, risk.block)
    ]


def blocks_of(rows: pl.DataFrame, block: str) -> Iterator[tuple[int, int, pl.DataFrame]]:
    """Start and end, in microseconds since 1970 UTC, of each block (start, end] that has rows, and these in their order; in the order of time.

    `rows` has `at`, Datetime with a zone; the rows that are given have their `_end`, too.
    """
    length = duration(block) // MICROSECOND
    at = pl.col("at").dt.convert_time_zone("UTC").dt.timestamp("us")
    numbered = rows.with_columns(_end=((at + length - 1) // length) * length).sort("_end", maintain_order=True)
    for (end,), part in numbered.partition_by("_end", as_dict=True, maintain_order=True).items():
        yield int(end) - length, int(end), part


def _block(
    start: int, end: int, group: pl.DataFrame, risk: Risk, decision: AnyDecision | None, output: Output
) -> BlockSummary:
    taken = group["decision"] if "decision" in group.columns else None

    return summarise(
        from_micros(start),
        from_micros(end),
        output.shaped(from_column(group[output.column])),
        group["label"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        loss=risk.loss,
        baseline=output.shaped(from_column(group["baseline"])) if "baseline" in group.columns else None,
        decision=decision,
        decisions=None if taken is None else taken.fill_null("").to_numpy(),
        model_version=versions_of(group),
        output=output,
        groups=group["group"].to_numpy() if "group" in group.columns else None,
        weights=group["weight"].to_numpy() if "weight" in group.columns else None,
        censored=int(group["censored"].sum()) if "censored" in group.columns else 0,
    )


def versions_of(group: pl.DataFrame) -> str:
    """The versions that answered, joined with commas; empty where that is not told."""
    if "model_version" not in group.columns:
        return ""
    return ",".join(group["model_version"].drop_nulls().unique(maintain_order=True).cast(pl.String).to_list())


def total(blocks: Iterable[BlockSummary]) -> BlockSummary:
    """All blocks as one. Raises `InvalidInput` without any."""
    given = list(blocks)
    if not given:
        raise InvalidInput("monitor.no_blocks", "there is no block to sum up")
    return reduce(merge, given)
