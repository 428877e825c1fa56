"""Exploration: a small, known share of rows gets another action than the decision's, so that its outcome can be seen.

The draw follows from the prediction's id alone: asked again, the same id gets the same action. The probability of the action taken
is exact and logged, which is what off-policy estimates need.
"""

from collections.abc import Callable, Sequence

import msgspec

from loopline.errors import InvalidInput
from loopline.values import derive_seed

_SEEDS = 2**32
_HALF = 0.5


class Exploration(msgspec.Struct, frozen=True):
    """What a person declares: the share of rows that draw their action from `actions`, each as likely (empty: all but the decision's).

    At most `at_most_per_day` rows a day (of UTC, by when they were scored) get another action than the decision's, and none gets one that is expected to cost more
    than `at_most_cost` above it.
    """

    share: float
    actions: tuple[str, ...] = ()
    at_most_per_day: int | None = None
    at_most_cost: float | None = None


class Chosen(msgspec.Struct, frozen=True):
    """The action of one row and the probability with which it was chosen."""

    action: str
    propensity: float


def explore(
    share: float,
    actions: Sequence[str] = (),
    *,
    at_most_per_day: int | None = None,
    at_most_cost: float | None = None,
) -> Exploration:
    """Declare exploration: `share` of the rows draw an action of `actions`, or, without any, one that the decision did not take.

    `actions=["negative"]` accepts a share of those that would be declined, where an outcome is only seen after that. Raises
    `InvalidInput` for a share outside of (0, 0.5], actions named twice, or bounds that are negative.
    """
    named = (actions,) if isinstance(actions, str) else tuple(actions)
    bounds = (at_most_per_day, at_most_cost)
    bounded = all(bound is None or bound >= 0 for bound in bounds)
    if not 0 < share <= _HALF or not bounded or len(set(named)) < len(named) or "abstain" in named:
        raise InvalidInput(
            "explore.terms",
            f"nothing can be explored with share={share}, actions={list(named)}, at_most_per_day={at_most_per_day}, "
            f"at_most_cost={at_most_cost}",
            remedy="Give a share above 0 and at most 0.5, each action once (abstain is none), and bounds of 0 or more.",
        )
    return Exploration(float(share), named, at_most_per_day, at_most_cost)


def pool(
    spec: Exploration, decided: str, known: Sequence[str], extra_cost: Callable[[str], float] | None = None
) -> tuple[str, ...]:
    """The actions that a row may draw: those declared, or all of `known` but the one decided; without those that cost too much.

    `extra_cost` gives what an action is expected to cost above the one decided.
    """
    drawn = spec.actions or tuple(action for action in known if action != decided)
    if spec.at_most_cost is None or extra_cost is None:
        return drawn
    limit = spec.at_most_cost
    return tuple(action for action in drawn if action == decided or extra_cost(action) <= limit)


def choose(share: float, drawn: Sequence[str], decided: str, prediction_id: str) -> Chosen:
    """The action of the prediction: with probability `share` one of `drawn`, each as likely, else the one decided.

    Probabilities are multiples of 2**-32 of what is stated. Without anything to draw the decided one is certain.
    """
    if not drawn:
        return Chosen(decided, 1.0)
    explores = derive_seed(0, "explore", prediction_id) < share * _SEEDS
    action = drawn[derive_seed(0, "explore", "action", prediction_id) % len(drawn)] if explores else decided
    return Chosen(action, propensity(share, drawn, decided, action))


def propensity(share: float, drawn: Sequence[str], decided: str, action: str) -> float:
    """The probability with which `choose` gives the action."""
    if not drawn:
        return float(action == decided)
    return share * (action in drawn) / len(drawn) + (1 - share) * (action == decided)
