"""Blocks of a risk that few labels and a judge of every row tell together: prediction-powered risk.

Each row stands for what it is expected to lose, and a row whose label was asked for also for what that missed, one over the probability with
which it was asked. Over that chance the mean of a block is the mean loss of all its rows, whatever the judge is worth; a good judge makes it
precise. How far the judge is trusted follows from rows before the block.

Prediction-powered risk monitoring, 2026 (arXiv 2602.02229); Angelopoulos, Duchi and Zrnic, PPI++, 2023; Horvitz and Thompson, 1952.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.evaluation.estimation.powered import LEAST_ASKED, powered_rows
from loopline.evaluation.kind import Output, from_column
from loopline.evaluation.losses import Loss, named
from loopline.monitoring.block import BlockSummary, blocks_of, versions_of
from loopline.monitoring.due import own_account
from loopline.monitoring.kinds import Powered
from loopline.monitoring.risk import Reference, Risk, reference_of
from loopline.values import MICROSECOND, derive_seed, from_micros

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PAST = timedelta(days=60)
"""From rows of so long before a block follows how far the judge is trusted in it."""

_DRAWS = 2.0**32


def drawn(model: str, keys: pl.Series, share: float) -> Mask:
    """Which rows' labels are asked for (rows,), by their keys: a share of them, the same in operation and in a replay of it."""
    numbers = [derive_seed(0, "asked", model, key) for key in keys.to_list()]
    return np.array(numbers, dtype=np.float64) < share * _DRAWS


@dataclass(frozen=True)
class Figures:
    """Of each row (rows,): the loss its label shows (NaN: none), the loss expected of it, and the least it can have lost."""

    shown: Floats
    expected: Floats
    least: Floats


def figures_of(
    loss: Loss, outputs: Floats, labels: Floats, judged: Floats | None, says: str, constant: float | None
) -> Figures:
    """The figures of rows with `outputs` as the model gives them and `labels` (rows,), NaN where not known.

    `judged` is what the judge `says` of each row, a label or a loss, NaN where nothing; without it the outputs say themselves. What always saying
    `constant` would have lost is taken off, for two classes.
    """
    two, known = outputs.ndim == 1 and "binary" in loss.kinds, np.ones_like(labels)
    flat = np.full(len(labels), 0.0 if constant is None else constant)

    def above(y: Floats) -> Floats:
        lost = loss.rows(outputs, y)
        return lost if constant is None else lost - loss.rows(flat, y)

    least = np.minimum(above(known), above(0 * known)) if two else np.zeros(len(labels))
    sure = outputs if judged is None else judged
    if says == "loss" and judged is not None:
        expected = judged - (0.0 if constant is None else loss.rows(flat, flat))
    elif judged is not None and not two:
        expected = loss.rows(outputs, judged)
    else:
        expected = own_account(loss, outputs, np.clip(sure, 0.0, 1.0))
        expected = expected if constant is None else expected - own_account(loss, flat, np.clip(sure, 0.0, 1.0))
    return Figures(above(labels), expected, least)


@dataclass(frozen=True)
class Learnt:
    """What rows before a block tell: how far the judge is trusted, and the mean square of what it then misses of a row (None: too few were asked)."""

    trust: float = 0.0
    missed: float | None = None


@dataclass(frozen=True)
class Sampled:
    """Rows with an output in the order of time, `at` in microseconds. `least` is what each can have lost at the least; how far above that it is
    `expected` to lie and was `shown` to lie; whether its label was `asked` for, and how probably. All (rows,).
    """

    at: Ints
    least: Floats
    expected: Floats
    shown: Floats
    asked: Mask
    propensity: Floats

    def between(self, start: int, end: int) -> slice:
        """The rows of (start, end]."""
        first, last = np.searchsorted(self.at, [start, end], side="right")
        return slice(int(first), int(last))

    def rows(self, part: slice, trust: float) -> Floats:
        """What each of these rows stands for."""
        shown = np.where(self.asked[part], self.shown[part], np.nan)
        return self.least[part] + powered_rows(trust * self.expected[part], shown, self.propensity[part])

    def chance(self, part: slice, missed: float) -> float:
        """How far the sum of these rows varies by which were asked, a variance, where the judge misses so much of a row in the mean square."""
        return float(missed * (1 / self.propensity[part] - 1).sum())

    @cached_property
    def _sums(self) -> Floats:
        """Running sums over rows of what `learnt` is made of, (rows + 1, 9)."""
        weight = self.asked / self.propensity
        shown, chosen = weight * self.shown, weight * self.expected - self.expected
        each = [self.asked, shown, chosen, shown * chosen, chosen**2]
        squares = [weight, weight * self.shown**2, weight * self.shown * self.expected, weight * self.expected**2]
        return np.concatenate([np.zeros((1, 9)), np.cumsum(np.column_stack([*each, *squares]), axis=0)])

    def learnt(self, part: slice) -> Learnt:
        """What these rows tell, as `trust_of` has it."""
        rows = part.stop - part.start
        asked, x, c, xc, cc, weight, xx, xf, ff = self._sums[part.stop] - self._sums[part.start]
        if asked < LEAST_ASKED:
            return Learnt()
        variance = cc / rows - (c / rows) ** 2
        trust = float(np.clip((xc / rows - x * c / rows**2) / variance, 0.0, 1.0)) if variance > 0 else 0.0
        missed = float(xx - 2 * trust * xf + trust**2 * ff) / weight
        return Learnt(trust, max(missed, 0.0) * (1 + 2 / math.sqrt(asked)))


def sampled(
    rows: pl.DataFrame, powered: Powered, model: str, risk: Risk, output: Output, constant: float | None
) -> Sampled:
    """Rows with an output, `at`, `_key` and `label`, and where a judge is named what it said: `judged`, and without a share `propensity` and
    perhaps `asked`. Raises `InvalidInput` where the judge does not say how probably a row was asked for.
    """
    outputs = output.shaped(from_column(rows[output.column]))
    made = ~np.isnan(outputs if outputs.ndim == 1 else outputs.sum(axis=1))
    rows, outputs = rows.filter(pl.Series(made)), outputs[made]
    labels, known = _numbers(rows, "label"), rows["label"].is_not_null().to_numpy()
    if powered.share is not None:
        asked, propensity = drawn(model, rows["_key"], powered.share), np.full(rows.height, powered.share)
    elif "propensity" in rows.columns:
        propensity = np.nan_to_num(_numbers(rows, "propensity"), nan=0.0)
        asked = rows["asked"].fill_null(value=False).to_numpy() if "asked" in rows.columns else known
        asked = asked & (propensity > 0)
    else:
        raise InvalidInput(
            "monitor.no_propensity",
            f"the rows of {powered.judge} do not say how probably a label was asked for",
            remedy="Give them a column `propensity`, or let Loopline draw: ll.Powered(..., share=0.05).",
        )
    judged = _numbers(rows, "judged") if powered.judge else None
    one = figures_of(named(risk.loss, output), outputs, labels, judged, powered.says, constant)
    moments = rows["at"].dt.convert_time_zone("UTC").dt.timestamp("us").to_numpy()
    return sample_of(moments, one, asked, propensity, powered.floor)


def sample_of(at: Ints, figures: Figures, asked: Mask, propensity: Floats, floor: float) -> Sampled:
    """The rows in the order of time. Where nothing is expected of a row it is what is usual, or where no row has anything, a constant to be scaled.

    What was asked for and has no label once it is due counts as the least that it can have lost. So does, of a row that was less likely to be asked
    than `floor`, what is expected: its label then weighs too little, and its mean lies below the loss, never above.
    """
    told = np.isfinite(figures.expected)
    usual = float((figures.expected - figures.least)[told].mean()) if told.any() else 1.0
    expected = np.where(told, np.maximum(figures.expected - figures.least, 0.0), usual)
    expected = np.where(propensity < floor, 0.0, expected)
    shown = np.nan_to_num(figures.shown - figures.least, nan=0.0)
    order = np.argsort(at, kind="stable")
    weight = np.maximum(propensity, floor)
    return Sampled(at[order], figures.least[order], expected[order], shown[order], asked[order], weight[order])


def _numbers(rows: pl.DataFrame, name: str) -> Floats:
    if name not in rows.columns:
        return np.full(rows.height, np.nan)
    return rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def powered_blocks(
    rows: pl.DataFrame, found: Sampled, risk: Risk, after: datetime, until: datetime, usual: float
) -> list[BlockSummary]:
    """Blocks of (after, until] in the order of time; every row with an output counts as labelled, `effective` says how many were asked for.

    `rows` has all of the predictions, with `at` and `model_version`; earlier ones tell how far the judge is trusted, and until enough were asked
    it is not, and what is missed of a row is `usual` in the mean square.
    """
    within = rows.filter((pl.col("at") > after) & (pl.col("at") <= until))
    blocks = []
    for start, end, part in blocks_of(within, risk.block):
        inside = found.between(start, end)
        told = found.learnt(found.between(start - PAST // MICROSECOND, start))
        count = inside.stop - inside.start
        blocks.append(
            BlockSummary(
                start=from_micros(start),
                end=from_micros(end),
                predictions=part.height,
                labelled=count,
                positives=0.0,
                expected=0.0,
                loss=float(found.rows(inside, told.trust).sum()) if count else 0.0,
                model_version=versions_of(part),
                effective=float(found.asked[inside].sum()),
                chance=found.chance(inside, usual if told.missed is None else told.missed),
            )
        )
    return blocks


def held_to(
    loss: Loss, outputs: Floats, labels: Floats, blocks: Ints, constant: float | None, min_rows: int
) -> Reference:
    """What held-out rows of known labels lost, block by block. Raises `InvalidInput` for too few blocks."""
    one = figures_of(loss, outputs, labels, None, "label", constant)
    numbers, member, rows = np.unique(blocks, return_inverse=True, return_counts=True)
    means = np.bincount(member, weights=one.shown, minlength=len(numbers)) / np.maximum(rows, 1)
    return reference_of(means[rows >= min_rows].tolist()).above(constant)


def square_of(loss: Loss, outputs: Floats, labels: Floats, constant: float | None) -> float:
    """The mean square of how far a row's loss lies above its least: what a judge misses who says nothing. 1.0 without rows."""
    one = figures_of(loss, outputs, labels, None, "label", constant)
    return float(np.square(one.shown - one.least).mean()) if len(labels) else 1.0
