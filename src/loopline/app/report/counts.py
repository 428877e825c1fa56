"""The counts behind the figures, which must add up."""

from loopline.app.report.figure import count
from loopline.loop.compare import Comparison, PolicyResult


def adds_up(result: PolicyResult) -> bool:
    """Whether every prediction is labelled or unlabelled, and only labelled ones were judged."""
    return result.predictions == result.labelled + result.unlabelled and 0 <= result.evaluated <= result.labelled


def counts_sentence(comparison: Comparison) -> str:
    """Whether the counts of every policy add up, in words."""
    wrong = [result.policy for result in comparison.policies if not adds_up(result)]
    if wrong:
        return f"The counts of {', '.join(wrong)} do not add up: do not trust the figures."
    totals = {(result.predictions, result.labelled, result.unlabelled) for result in comparison.policies}
    if len(totals) == 1:
        ((predictions, labelled, unlabelled),) = totals
        told = f"{count(predictions)} predictions = {count(labelled)} labelled + {count(unlabelled)} unlabelled"
        censored = max(result.censored for result in comparison.policies)
        known_in_part = f" (of which {count(censored)} censored)" if censored else ""
        return f"{told}{known_in_part}, in every policy."
    return "In every policy predictions = labelled + unlabelled, but the policies did not score the same rows."
