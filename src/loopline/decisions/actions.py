"""The actions that a decision can lead to, by name."""

from loopline.decisions.choice import ChoiceCosts, ChoiceDecision
from loopline.decisions.decision import AnyDecision, AnySpec
from loopline.decisions.exploration import Exploration
from loopline.decisions.policy import NEGATIVE, POSITIVE, Decision, DecisionSpec
from loopline.errors import InvalidInput


def actions_of(decision: AnyDecision) -> tuple[str, ...]:
    """What there is to do, without abstaining; nothing where the decision is an amount, or there is none."""
    if isinstance(decision, Decision):
        return (POSITIVE, NEGATIVE)
    return decision.classes if isinstance(decision, ChoiceDecision) else ()


def require_actions(
    spec: AnySpec, classes: tuple[str, ...], exploration: Exploration | None, observed_after: str | None
) -> None:
    """Raise `InvalidInput` where exploration, or a label seen after one action only, names an action that there is not."""
    known = (POSITIVE, NEGATIVE) if isinstance(spec, DecisionSpec) else classes if isinstance(spec, ChoiceCosts) else ()
    named = (*(exploration.actions if exploration else ()), *((observed_after,) if observed_after else ()))
    unknown = [action for action in named if action not in known]
    if unknown or (exploration is not None and not known):
        raise InvalidInput(
            "decision.unknown_action",
            f"{unknown[0]!r} is no action of this model"
            if unknown
            else "a model that chooses no action cannot explore",
            remedy=f"Its actions are {', '.join(known)}." if known else "Explore where costs choose between classes.",
        )
