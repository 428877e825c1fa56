"""Conditions: what may be asked of what is going on. Pure data, so that a plan can show them and a replay can compare them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from loopline.incidents.forecast import Forecast
from loopline.values import Window, duration

MONTH = "1mo"
DRIFT = "drift"
"""The kind of a cause that says none: an input that lies further from the reference than is usual."""


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

    def causes(self) -> Sequence[Sequence[Mapping[str, Any]]]:
        """The diagnosis of each open incident about the model or what it reads: its causes, the likeliest first."""
        ...

    def forecast(self, horizon: str) -> Forecast:
        """What a training now is expected to save over the horizon."""
        ...

    def in_force(self, measure: str) -> bool:
        """Whether a measure that lasts, such as `serve_fallback`, is in force."""
        ...

    def growth(self) -> float:
        """Labelled rows now over labelled rows when a version was last trained, promoted or not; 1.0 before the first."""
        ...

    def last_done(self, action: str) -> datetime | None:
        """When this action was last carried out."""
        ...

    def times_done(self, action: str, since: datetime) -> int:
        """How often it was carried out after `since`."""
        ...


class Condition(msgspec.Struct, frozen=True, tag=True):
    """Base of all conditions; combine them with `&` and `|`."""

    def reason(self, situation: Situation) -> str:
        """Why it holds, in words; only asked where it does."""
        raise NotImplementedError

    def holds(self, situation: Situation) -> bool:
        raise NotImplementedError

    def sums(self, situation: Situation) -> dict[str, Any]:
        """The figures that it rests on, for the ledger; only asked where it holds."""
        return {}

    def parts(self) -> "Sequence[Condition]":
        """Itself and all that it is joined of."""
        return [self]

    def __invert__(self) -> "Condition":
        return Not(self)

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


class Causes(Condition, frozen=True, tag="cause"):
    """An open incident's diagnosis names one of these kinds of cause among its `among` likeliest, about one of `about` where that is said."""

    kinds: tuple[str, ...]
    among: int = 1
    about: tuple[str, ...] = ()

    def reason(self, situation: Situation) -> str:
        found = self._found(situation)
        return f"the likely cause is {found.get('kind', DRIFT)}: {found.get('sentence', '')}".rstrip(". ")

    def holds(self, situation: Situation) -> bool:
        return bool(self._found(situation))

    def _found(self, situation: Situation) -> Mapping[str, Any]:
        likely = [one for ranked in situation.causes() for one in ranked[: self.among]]
        return next((one for one in likely if self._means(one)), {})

    def _means(self, one: Mapping[str, Any]) -> bool:
        named = {one.get("column"), one.get("subject"), one.get("source"), *one.get("columns", ())}
        return one.get("kind", DRIFT) in self.kinds and (not self.about or bool(named & set(self.about)))


class RetrainingPays(Condition, frozen=True, tag="retraining_pays"):
    """A training is expected to save more over `horizon` than it costs."""

    horizon: str

    def reason(self, situation: Situation) -> str:
        return situation.forecast(self.horizon).sentence

    def holds(self, situation: Situation) -> bool:
        return situation.forecast(self.horizon).pays

    def sums(self, situation: Situation) -> dict[str, Any]:
        return situation.forecast(self.horizon).sums()


class Not(Condition, frozen=True, tag="not"):
    """The other does not hold."""

    of: Condition

    def reason(self, situation: Situation) -> str:
        return "what it waits for has not come"

    def holds(self, situation: Situation) -> bool:
        return not self.of.holds(situation)

    def parts(self) -> Sequence[Condition]:
        return [self, *self.of.parts()]


class Both(Condition, frozen=True, tag="both"):
    """Both hold; the second is not asked where the first does not."""

    left: Condition
    right: Condition

    def reason(self, situation: Situation) -> str:
        told = [part for part in (self.left, self.right) if not isinstance(part, Not)]
        return ", and ".join(part.reason(situation) for part in told) or "nothing speaks against it"

    def holds(self, situation: Situation) -> bool:
        return self.left.holds(situation) and self.right.holds(situation)

    def sums(self, situation: Situation) -> dict[str, Any]:
        return {**self.left.sums(situation), **self.right.sums(situation)}

    def parts(self) -> Sequence[Condition]:
        return [self, *self.left.parts(), *self.right.parts()]


class Either(Condition, frozen=True, tag="either"):
    """At least one holds."""

    left: Condition
    right: Condition

    def reason(self, situation: Situation) -> str:
        holding = [part for part in (self.left, self.right) if part.holds(situation)]
        return ", and ".join(part.reason(situation) for part in holding)

    def holds(self, situation: Situation) -> bool:
        return self.left.holds(situation) or self.right.holds(situation)

    def sums(self, situation: Situation) -> dict[str, Any]:
        holding = [part for part in (self.left, self.right) if part.holds(situation)]
        return {name: figure for part in holding for name, figure in part.sums(situation).items()}

    def parts(self) -> Sequence[Condition]:
        return [self, *self.left.parts(), *self.right.parts()]
