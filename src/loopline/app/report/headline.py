"""The result of a replay in two sentences, computed, whichever way it went."""

import math
from collections.abc import Callable

from loopline.app.report.difference import Difference, difference
from loopline.app.report.figure import fixed, moment, times
from loopline.app.report.measure import PER, TITLES, cost_decimals, loss_decimals
from loopline.loop.compare import Comparison, PolicyResult
from loopline.loop.lane import LOOP_POLICY


def headline(comparison: Comparison) -> list[str]:
    """Loss against each other policy with retrains and pages, then cost; one sentence each."""
    if not comparison.policies:
        return ["No policy was replayed."]
    own, others = split(comparison)
    if not math.isfinite(own.loss):
        return [
            f"{_subject(own)} was never judged: no prediction made after {moment(comparison.since)} UTC has a label."
        ]
    told = [_loss(comparison, own, others)]
    return [*told, _cost(own, others, cost_decimals(comparison))] if math.isfinite(own.cost) else told


def split(comparison: Comparison) -> tuple[PolicyResult, list[PolicyResult]]:
    """The loop's own result and the others; the first stands for the loop where none bears its name."""
    policies = comparison.policies
    own = next((found for found in policies if found.policy == LOOP_POLICY), policies[0])
    return own, [found for found in policies if found is not own]


def _loss(comparison: Comparison, own: PolicyResult, others: list[PolicyResult]) -> str:
    decimals, title = loss_decimals(comparison), TITLES[comparison.loss]
    title = title if title[0].isdigit() else title.lower()
    start = f"{_subject(own)}'s {title} is {fixed(own.loss, decimals)}"
    compared = [_against(found, "loss", 1, decimals, ("below", "above")) for found in others]
    retrains = _effort(own, others, lambda found: found.retrains, "retrain")
    pages = _effort(own, others, lambda found: found.pages, "page")
    clauses = f": {', '.join(compared)}" if compared else ""
    return f"{start}{clauses}, with {retrains}{',' if others else ''} and {pages}."


def _cost(own: PolicyResult, others: list[PolicyResult], decimals: int) -> str:
    start = f"It costs {fixed(own.cost * PER, decimals)} per {PER:,} predictions"
    compared = [_against(found, "cost", PER, decimals, ("less than", "more than")) for found in others]
    return f"{start}: {', '.join(compared)}." if compared else f"{start}."


def _against(found: PolicyResult, figure: str, factor: float, decimals: int, words: tuple[str, str]) -> str:
    """The loop against one other policy: `0.041 below monthly (0.034 to 0.048)`."""
    gap = difference(found, figure)
    if gap is None:
        return f"not compared with {found.policy} (no rows in common)"
    if gap.verdict == "same":
        return f"the same as {found.policy}"
    gap = gap.scaled(factor)
    word = words[0] if gap.mean >= 0 else words[1]
    return f"{fixed(abs(gap.mean), decimals)} {word} {found.policy} ({_interval(gap, decimals, words)})"


def _interval(gap: Difference, decimals: int, words: tuple[str, str]) -> str:
    less, more = (word.removesuffix(" than") for word in words)
    if not gap.bounded:
        return "one day gives no interval"
    near, far = (fixed(abs(bound), decimals) for bound in sorted((gap.lower, gap.upper), key=abs))
    if gap.verdict != "no clear difference":
        return f"{near} to {far}"
    below, above = fixed(max(gap.upper, 0.0), decimals), fixed(max(-gap.lower, 0.0), decimals)
    return f"{below} {less} to {above} {more}, no clear difference"


def _effort(own: PolicyResult, others: list[PolicyResult], value: Callable[[PolicyResult], int], word: str) -> str:
    """`8 retrains against 11`, or `8 retrains against 1 (train_once) and 11 (monthly)`."""
    told = times(value(own), word)
    if not others:
        return told
    if len(others) == 1:
        return f"{told} against {value(others[0]):,}"
    *first, last = (f"{value(found):,} ({found.policy})" for found in others)
    return f"{told} against {', '.join(first)} and {last}"


def _subject(own: PolicyResult) -> str:
    return "The loop" if own.policy == LOOP_POLICY else own.policy
