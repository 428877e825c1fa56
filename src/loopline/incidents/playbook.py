"""The playbook: conditions on what is going on, each with the one action it calls for. The first match wins.

Conditions and actions are pure data, so that a plan can show them and a replay can compare them.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from loopline.errors import InvalidInput
from loopline.incidents.condition import MONTH, Condition, Every, Situation
from loopline.values import duration

A_MONTH = timedelta(days=30)
DRY_RUN = "dry_run:"


class Action(msgspec.Struct, frozen=True):
    """A named callable that the app registers, with how often it may and must be carried out.

    `cooldown`: not again within this time of the last. `at_least_every`: due by itself after this time without one.
    `at_most_a_month`: not more often than this within any 30 days. `unless`: it waits while that holds. `search` asks a training for a
    new search of its parameters. With `dry_run` it is only told what would have been done. `terms` are what the action itself asks for.
    What is unset is not written.
    """

    name: str
    cooldown: str = ""
    at_least_every: str = ""
    search: bool | msgspec.UnsetType = msgspec.UNSET
    at_most_a_month: int | msgspec.UnsetType = msgspec.UNSET
    unless: Condition | msgspec.UnsetType = msgspec.UNSET
    dry_run: bool | msgspec.UnsetType = msgspec.UNSET
    terms: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET

    def __call__(
        self,
        *,
        cooldown: str = "",
        at_least_every: str = "",
        search: bool = False,
        at_most_a_month: int | None = None,
        unless: Condition | None = None,
        dry_run: bool = False,
    ) -> "Action":
        """The same action with limits. Raises `InvalidInput` for an unreadable duration, a budget below 1, and a floor that the other
        limits never let be kept.
        """
        for text in (cooldown, at_least_every):
            if text:
                duration(text)
        _check_limits(cooldown, at_least_every, at_most_a_month)
        if unless is not None and not isinstance(unless, Condition):
            raise _not_a_condition(unless)
        return msgspec.structs.replace(
            self,
            cooldown=cooldown,
            at_least_every=at_least_every,
            search=search or msgspec.UNSET,
            at_most_a_month=msgspec.UNSET if at_most_a_month is None else at_most_a_month,
            unless=unless or msgspec.UNSET,
            dry_run=dry_run or msgspec.UNSET,
        )

    @property
    def recorded(self) -> str:
        """The name it is recorded by: what was only told must not count as done."""
        return f"{DRY_RUN}{self.name}" if self.dry_run is True else self.name

    def held(self, situation: Situation) -> str:
        """Why it must wait; empty where it need not."""
        end = situation.window.end
        last = situation.last_done(self.recorded)
        if self.cooldown and last is not None and end - last < duration(self.cooldown):
            return "cooling down"
        if isinstance(self.at_most_a_month, int):
            done = situation.times_done(self.recorded, end - A_MONTH)
            if done >= self.at_most_a_month:
                return f"the budget is spent: it was carried out {done} times within 30 days"
        if isinstance(self.unless, Condition) and self.unless.holds(situation):
            return self.unless.reason(situation)
        return ""

    def overdue(self, situation: Situation) -> bool:
        """Whether the last one is longer ago than `at_least_every`."""
        last = situation.last_done(self.recorded)
        return (
            bool(self.at_least_every)
            and last is not None
            and situation.window.end - last >= duration(self.at_least_every)
        )


def _check_limits(cooldown: str, at_least_every: str, at_most_a_month: int | None) -> None:
    if at_most_a_month is not None and at_most_a_month < 1:
        raise InvalidInput(
            "playbook.no_budget",
            f"at_most_a_month={at_most_a_month} never lets it be done",
            remedy="Give 1 or more, or leave the action out.",
        )
    if not at_least_every:
        return
    floor = duration(at_least_every)
    if (cooldown and floor < duration(cooldown)) or (at_most_a_month is not None and floor * at_most_a_month < A_MONTH):
        raise InvalidInput(
            "playbook.floor",
            f"at_least_every={at_least_every!r} is not kept with cooldown={cooldown!r} and at_most_a_month={at_most_a_month}",
            remedy="Let the floor be longer than the cool-down, and no more often than the budget allows.",
        )


class Response(msgspec.Struct, frozen=True):
    """Under this condition, this action."""

    condition: Condition
    action: Action

    def parts(self) -> Sequence[Condition]:
        """All conditions that it asks, those that hold it back among them."""
        unless = self.action.unless
        return [*self.condition.parts(), *(unless.parts() if isinstance(unless, Condition) else ())]


def on(condition: Condition, action: Action) -> Response:
    """Under `condition`, carry out `action`."""
    if not isinstance(condition, Condition):
        raise _not_a_condition(condition)
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


def _not_a_condition(given: object) -> InvalidInput:
    return InvalidInput(
        "playbook.not_a_condition",
        f"{given!r} is not a condition",
        remedy="Use harm, data_fault, previous_is_better, cause(...), grown(...), joined by & and |, turned round by ~.",
    )


class Match(msgspec.Struct, frozen=True):
    """The response that matched, why its action must wait (empty: it need not), why it matched, and the sums behind that."""

    response: Response
    position: int
    waits: str
    reason: str
    sums: dict[str, Any] = {}


class Considered(msgspec.Struct, frozen=True):
    """What came of one response: whether it matches and why, or why it does not; and why its action waits, if it does."""

    action: str
    matches: bool
    reason: str
    waits: str


def first_match(responses: Sequence[Response], situation: Situation) -> Match | None:
    """The first response whose condition holds or whose action is overdue. A measure that is in force already is passed over."""
    for position, response in enumerate(responses):
        match = _match(position, response, situation)
        if match is not None:
            return match
    return None


def consider(responses: Sequence[Response], situation: Situation) -> list[Considered]:
    """Every response, asked by itself: what the playbook would do, and what stands behind that."""
    return [_considered(_match(position, one, situation), one, situation) for position, one in enumerate(responses)]


def _considered(match: Match | None, response: Response, situation: Situation) -> Considered:
    if match is not None:
        return Considered(response.action.recorded, matches=True, reason=match.reason, waits=match.waits)
    why = "it is in force" if situation.in_force(response.action.recorded) else "its condition does not hold"
    return Considered(response.action.recorded, matches=False, reason=why, waits="")


def _match(position: int, response: Response, situation: Situation) -> Match | None:
    condition, action = response.condition, response.action
    if condition.holds(situation):
        if situation.in_force(action.recorded):
            return None
        reason, sums = condition.reason(situation), condition.sums(situation)
    elif action.overdue(situation):
        reason, sums = f"the last {action.name} is more than {action.at_least_every} ago", {}
    else:
        return None
    return Match(response, position, action.held(situation), reason, sums)
