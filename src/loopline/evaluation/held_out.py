"""How a model did on the rows that were held out of its training, kept as it was known then."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.evaluation.intervals import mean_by_block
from loopline.evaluation.kind import Output
from loopline.evaluation.losses import losses_of, named
from loopline.evaluation.reliability import Reliability, reliability
from loopline.evidence.student import quantile
from loopline.values import canonical_json

HELD_OUT = "held_out_evaluation"
"""Under this name a version's lineage and run have the digest of its evaluation."""

MOST_SLICES = 60

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Blocks = npt.NDArray[np.generic]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over rows with its bounds over blocks; None where a single block says nothing of spread."""

    mean: float
    lower: float | None
    upper: float | None
    rows: int
    blocks: int


class SliceEstimate(msgspec.Struct, frozen=True):
    """The loss in one slice of the rows, e.g. `carrier=AA`."""

    name: str
    loss: Estimate


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """`rows` rows from `start` to `end` (UTC), cut into blocks of `block`.

    `losses` are by name, `loss` names the one that slices are judged by; `constants` are the same of the best constant
    prediction of these very rows. `cost` is that of a decision, `decisions` the share of each.
    """

    kind: str
    rows: int
    start: datetime
    end: datetime
    block: str
    confidence: float
    loss: str
    losses: dict[str, Estimate]
    constants: dict[str, float]
    cost: Estimate | None
    decisions: dict[str, float]
    reliability: Reliability | None
    slices: tuple[SliceEstimate, ...]

    def encoded(self) -> bytes:
        """Canonical JSON: what is kept as an artifact."""
        return canonical_json(self)


def estimate(values: Floats, blocks: Blocks, confidence: float) -> Estimate | None:
    """The mean of `values` (rows,) over the rows that are not NaN; None without any."""
    known = ~np.isnan(values)
    if not known.any():
        return None
    found = mean_by_block(values[known], blocks[known], confidence)
    sure = bool(np.isfinite(found.lower))
    return Estimate(
        mean=found.mean,
        lower=found.lower if sure else None,
        upper=found.upper if sure else None,
        rows=found.rows,
        blocks=found.blocks,
    )


def shares(decisions: npt.NDArray[np.str_]) -> dict[str, float]:
    """The share of rows of each decision, where there are few different ones; nothing where decisions are amounts."""
    names, counts = np.unique(decisions, return_counts=True)
    if len(names) > MOST_SLICES or names.tolist() == [""]:
        return {}
    return {str(name): float(count / len(decisions)) for name, count in zip(names, counts, strict=True)}


def slice_estimates(
    loss: Floats, blocks: Blocks, slices: Mapping[str, Mask], confidence: float
) -> tuple[SliceEstimate, ...]:
    """The loss in each slice, the worst first; at most 60."""
    made = [(name, estimate(loss[mask], blocks[mask], confidence)) for name, mask in slices.items()]
    found = [SliceEstimate(name, one) for name, one in made if one is not None]
    return tuple(sorted(found, key=lambda one: (-one.loss.mean, one.name))[:MOST_SLICES])


def evaluate(
    output: Output,
    outputs: npt.ArrayLike,
    labels: npt.ArrayLike,
    at: Sequence[datetime],
    *,
    block: str,
    blocks: Blocks,
    decisions: npt.NDArray[np.str_],
    costs: Floats,
    slices: Mapping[str, Mask],
    groups: npt.NDArray[np.generic] | None = None,
    confidence: float = 0.95,
) -> HeldOut:
    """The evaluation of outputs on rows with known labels; `at` are their times, `slices` masks of shape (rows,) by name."""
    y, made = np.asarray(labels, dtype=np.float64), {name: named(name, output) for name in losses_of(output.kind)}
    losses = {name: np.asarray(loss.rows(outputs, y, groups)) for name, loss in made.items()}
    constants = {name: float(np.nanmean(loss.best_constant(y, y, groups))) for name, loss in made.items()}
    found = {name: estimate(values, blocks, confidence) for name, values in losses.items()}
    first = losses_of(output.kind)[0]
    return HeldOut(
        kind=output.kind,
        rows=len(y),
        start=min(at),
        end=max(at),
        block=block,
        confidence=confidence,
        loss=first,
        losses={name: one for name, one in found.items() if one is not None},
        constants=constants,
        cost=estimate(costs, blocks, confidence),
        decisions=shares(decisions),
        reliability=reliability(outputs, y) if output.kind == "binary" else None,
        slices=slice_estimates(losses[first], blocks, slices, confidence),
    )


def of_blocks(means: Sequence[float], rows: Sequence[int], confidence: float = 0.95) -> Estimate | None:
    """The mean over all rows from each block's mean and number of rows, with bounds as over the rows themselves; None
    without rows.
    """
    x, n = np.asarray(means, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    total = float(n.sum())
    if not total:
        return None
    mean, count = float((x * n).sum() / total), len(x)
    if count == 1:
        return Estimate(mean=mean, lower=None, upper=None, rows=int(total), blocks=1)
    error = math.sqrt(count / (count - 1) * float(((n * (x - mean)) ** 2).sum())) / total
    half = quantile(0.5 + confidence / 2, count - 1) * error
    return Estimate(mean=mean, lower=mean - half, upper=mean + half, rows=int(total), blocks=count)
