"""The playbook: conditions on what is going on, each with the one action it calls for. The first match wins.

Conditions and actions are pure data, so that a plan can show them and a replay can compare them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from loopline.errors import InvalidInput
from loopline.values import Window, duration

MONTH = "1mo"


class Situation(Protocol):
    """What a condition may ask. Costly answers are computed when they are asked for."""

    window: Window

    def harm(self) -> bool:
        """An incident for harm is open."""
        ...

    def data_fault(self) -> bool:
        """An incident for a data fault is open."""
        ...

    def previous_is_better(self) -> bool:
        """The harm began after a promotion, and the earlier model is better on the same rows."""
        ...

    def decision_harm(self) -> bool:
        """An incident for a decision that costs more than expected is open."""
        ...

    def previous_decision_is_cheaper(self) -> bool:
        """The decision was changed, and the earlier one is cheaper on the same rows since."""
        ...

    def alarmed(self, kind: str) -> bool:
        """An incident of this kind is open."""
        ...

    def growth(self) -> float:
        """Labelled rows now over labelled rows when a version was last trained, promoted or not; 1.0 before the first."""
        ...

    def last_done(self, action: str) -> datetime | None:
        """When this action was last carried out."""
        ...


class Condition(msgspec.Struct, frozen=True, tag=True):
    """Base of all conditions; combine them with `&` and `|`."""

    def reason(self, situation: Situation) -> str:
        """Why it holds, in words; only asked where it does."""
        raise NotImplementedError

    def holds(self, situation: Situation) -> bool:
        raise NotImplementedError

    def __and__(self, other: "Condition") -> "Condition":
        return Both(self, other)

    def __or__(self, other: "Condition") -> "Condition":
        return Either(self, other)


class Harm(Condition, frozen=True, tag="harm"):
    """The model does more harm than was promised: its monitor raised an alarm that is not yet answered."""

    def reason(self, situation: Situation) -> str:
        return "the model does more harm than was promised"

    def holds(self, situation: Situation) -> bool:
        return situation.harm()


class DataFault(Condition, frozen=True, tag="data_fault"):
    """The data going into the model are broken."""

    def reason(self, situation: Situation) -> str:
        return "the data going into the model are broken"

    def holds(self, situation: Situation) -> bool:
        return situation.data_fault()


class PreviousIsBetter(Condition, frozen=True, tag="previous_is_better"):
    """The harm began after a promotion and the earlier model is better on the same rows."""

    def reason(self, situation: Situation) -> str:
        return "the earlier model is better on the same rows"

    def holds(self, situation: Situation) -> bool:
        return situation.previous_is_better()


class DecisionHarm(Condition, frozen=True, tag="decision_harm"):
    """The decision costs more than was expected when it was put in force: its monitor raised an alarm that is not yet answered."""

    def reason(self, situation: Situation) -> str:
        return "the decision costs more than was expected of it"

    def holds(self, situation: Situation) -> bool:
        return situation.decision_harm()


class PreviousDecisionIsCheaper(Condition, frozen=True, tag="previous_decision_is_cheaper"):
    """The decision was changed and the earlier one is cheaper on the same rows since, at the prices of now."""

    def reason(self, situation: Situation) -> str:
        return "the earlier decision is cheaper on the same rows"

    def holds(self, situation: Situation) -> bool:
        return situation.previous_decision_is_cheaper()


class Alarmed(Condition, frozen=True, tag="alarmed"):
    """A monitor of this kind raised an alarm that is not yet answered."""

    kind: str
    told: str

    def reason(self, situation: Situation) -> str:
        return self.told

    def holds(self, situation: Situation) -> bool:
        return situation.alarmed(self.kind)


class Grown(Condition, frozen=True, tag="grown"):
    """There are `factor` times as many labelled rows as when a version was last trained, promoted or not.

    Learning curves fall with the logarithm of the data, so equal factors promise equal gains: the regret of an old model that
    is due to little data alone is bounded by retraining at a fixed growth; and a candidate that the gates refused is not
    tried again with almost the same rows.
    """

    factor: float

    def reason(self, situation: Situation) -> str:
        return f"there are {situation.growth():.2f} times as many labelled rows as at the last training"

    def holds(self, situation: Situation) -> bool:
        return situation.growth() >= self.factor


class Every(Condition, frozen=True, tag="every"):
    """A period's boundary lies in the turn's window: `"1mo"` (midnight UTC of each month's first day) or a duration since 1970."""

    period: str

    def reason(self, situation: Situation) -> str:
        return f"the schedule says every {self.period}"

    def holds(self, situation: Situation) -> bool:
        window = situation.window
        if self.period == MONTH:
            first = window.end.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            return first in window
        length = duration(self.period).total_seconds()
        return window.end.timestamp() // length > window.start.timestamp() // length


class Both(Condition, frozen=True, tag="both"):
    """Both hold; the second is not asked where the first does not."""

    left: Condition
    right: Condition

    def reason(self, situation: Situation) -> str:
        return f"{self.left.reason(situation)}, and {self.right.reason(situation)}"

    def holds(self, situation: Situation) -> bool:
        return self.left.holds(situation) and self.right.holds(situation)


class Either(Condition, frozen=True, tag="either"):
    """At least one holds."""

    left: Condition
    right: Condition

    def reason(self, situation: Situation) -> str:
        holding = [part for part in (self.left, self.right) if part.holds(situation)]
        return ", and ".join(part.reason(situation) for part in holding)

    def holds(self, situation: Situation) -> bool:
        return self.left.holds(situation) or self.right.holds(situation)


class Action(msgspec.Struct, frozen=True):
    """A named callable that the app registers, with how often it may and must be carried out.

    `cooldown`: not again within this time of the last. `at_least_every`: due by itself after this time without one. `search`
    asks a training for a new search of its parameters; unset, which is not written, it is not asked for.
    """

    name: str
    cooldown: str = ""
    at_least_every: str = ""
    search: bool | msgspec.UnsetType = msgspec.UNSET

    def __call__(self, *, cooldown: str = "", at_least_every: str = "", search: bool = False) -> "Action":
        """The same action with limits. Raises `InvalidInput` for an unreadable duration."""
        for text in (cooldown, at_least_every):
            if text:
                duration(text)
        return Action(self.name, cooldown, at_least_every, search or msgspec.UNSET)

    def cooling_down(self, situation: Situation) -> bool:
        """Whether the last one is too recent."""
        last = situation.last_done(self.name)
        return bool(self.cooldown) and last is not None and situation.window.end - last < duration(self.cooldown)

    def overdue(self, situation: Situation) -> bool:
        """Whether the last one is longer ago than `at_least_every`."""
        last = situation.last_done(self.name)
        return (
            bool(self.at_least_every)
            and last is not None
            and situation.window.end - last >= duration(self.at_least_every)
        )


class Response(msgspec.Struct, frozen=True):
    """Under this condition, this action."""

    condition: Condition
    action: Action


def on(condition: Condition, action: Action) -> Response:
    """Under `condition`, carry out `action`."""
    if not isinstance(condition, Condition):
        raise InvalidInput(
            "playbook.not_a_condition",
            f"{condition!r} is not a condition",
            remedy="Use harm, data_fault, previous_is_better, grown(...), every(...), joined by & and |.",
        )
    return Response(condition, action)


def every(period: str, action: Action) -> Response:
    """Carry out `action` at each boundary of `period`: `"1mo"` or a duration such as `"7d"`.

    Raises `InvalidInput` for an unreadable or empty period.
    """
    if period != MONTH and not duration(period):
        raise InvalidInput(
            "playbook.empty_period", f"every({period!r}) holds no time", remedy='Write e.g. "1mo" or "7d".'
        )
    return Response(Every(period), action)


class Match(msgspec.Struct, frozen=True):
    """The response that matched, whether its action must wait for its cool-down, and why it matched."""

    response: Response
    position: int
    waits: bool
    reason: str


def first_match(responses: Sequence[Response], situation: Situation) -> Match | None:
    """The first response whose condition holds or whose action is overdue."""
    for position, response in enumerate(responses):
        waits = response.action.cooling_down(situation)
        if response.condition.holds(situation):
            return Match(response, position, waits, response.condition.reason(situation))
        if response.action.overdue(situation):
            told = f"the last {response.action.name} is more than {response.action.at_least_every} ago"
            return Match(response, position, waits, told)
    return None
