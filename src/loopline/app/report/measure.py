"""The measures that policies are compared by: one row of the comparison each, for the page and the terminal alike."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from loopline.app.report.difference import Difference, difference
from loopline.app.report.figure import MISSING, count, decimals_for, fixed, percent
from loopline.loop.compare import Comparison, PolicyResult

_MEAN = "mean over labelled predictions"

TITLES = {
    "log_loss": "Log loss",
    "brier": "Brier score",
    "zero_one": "Error rate",
    "squared_error": "Squared error",
    "absolute_error": "Absolute error",
    "pinball": "Pinball loss",
    "ndcg_loss": "1 - NDCG",
}
"""The names of losses for people."""

PER = 1000
"""Costs are told per so many predictions."""


@dataclass(frozen=True)
class Cell:
    """One policy's figure as text. `best` marks the best as shown; `difference` is what it is more than the loop's, with its
    `interval`, and `verdict` what that means.
    """

    text: str
    best: bool = False
    difference: str = ""
    interval: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Row:
    """One measure of every policy, in the order of the comparison."""

    label: str
    note: str
    cells: list[Cell]


def rows(comparison: Comparison) -> list[Row]:
    """The comparison, measure by measure."""
    policies = comparison.policies
    loss = loss_decimals(comparison)
    cost = cost_decimals(comparison)
    return [
        _compared(policies, TITLES[comparison.loss], _MEAN, "loss", loss, 1),
        *_others(comparison, loss),
        _compared(policies, f"Cost per {PER:,}", "predictions, in the declared unit", "cost", cost, PER),
        _row("Abstained", "sent to review", policies, lambda found: found.abstained, percent),
        _row("Pages", "incidents of harm", policies, lambda found: found.pages, count),
        _row("Retrains", "versions trained", policies, lambda found: found.retrains, count),
        _row("Promotions", "new champions", policies, lambda found: found.promotions, count, ranked=False),
        _row("Rollbacks", "earlier champions back", policies, lambda found: found.rollbacks, count),
        _row("Training", "seconds, measured", policies, lambda found: found.train_seconds, lambda s: fixed(s, 1)),
    ]


def _others(comparison: Comparison, decimals: int) -> list[Row]:
    if comparison.other_loss is None:
        return []
    title = TITLES[comparison.other_loss]
    return [_row(title, _MEAN, comparison.policies, _other_loss, lambda value: fixed(value, decimals))]


def _other_loss(found: PolicyResult) -> float:
    return math.nan if found.other_loss is None else found.other_loss


def loss_decimals(comparison: Comparison) -> int:
    """How many decimals losses are told with."""
    return decimals_for(_errors(comparison, "loss", 1), least=3, most=5)


def cost_decimals(comparison: Comparison) -> int:
    """How many decimals costs per thousand are told with."""
    return decimals_for(_errors(comparison, "cost", PER), least=0, most=4)


def _errors(comparison: Comparison, figure: str, factor: float) -> list[float]:
    found = [difference(result, figure) for result in comparison.policies]
    return [each.error * factor for each in found if each is not None]


def _compared(policies: list[PolicyResult], label: str, note: str, figure: str, decimals: int, factor: float) -> Row:
    row = _row(
        label,
        note,
        policies,
        lambda found: float(getattr(found, figure)) * factor,
        lambda value: fixed(value, decimals),
    )
    return Row(
        label,
        note,
        [
            _with_difference(cell, difference(found, figure), decimals, factor)
            for cell, found in zip(row.cells, policies, strict=True)
        ],
    )


def _with_difference(cell: Cell, found: Difference | None, decimals: int, factor: float) -> Cell:
    if found is None:
        return cell
    scaled = found.scaled(factor)
    mean = fixed(scaled.mean, decimals, sign=True)
    if not scaled.bounded:
        return Cell(cell.text, cell.best, mean, "", "no interval")
    lower, upper = (fixed(bound, decimals, sign=True) for bound in (scaled.lower, scaled.upper))
    return Cell(cell.text, cell.best, mean, f"{lower} to {upper}", scaled.verdict)


def _row(
    label: str,
    note: str,
    policies: list[PolicyResult],
    value: Callable[[PolicyResult], float],
    text: Callable[[float], str],
    *,
    ranked: bool = True,
) -> Row:
    """The least is the best. What reads the same is as good; where all read the same, none is marked."""
    texts = [text(value(found)) for found in policies]
    known = [(value(found), shown) for found, shown in zip(policies, texts, strict=True) if shown != MISSING]
    best = min(known)[1] if ranked and len({shown for _, shown in known}) > 1 else None
    return Row(label, note, [Cell(shown, shown == best) for shown in texts])
