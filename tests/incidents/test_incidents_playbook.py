import calendar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.incidents.conditions import data_fault, grown, harm, notify, previous_is_better, retrain, roll_back
from loopline.incidents.condition import Condition
from loopline.incidents.forecast import Forecast
from loopline.incidents.playbook import Response, every, first_match, on
from loopline.incidents.prices import Prices
from loopline.values import Window

NOW = datetime(2026, 3, 10, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Asked:
    """A situation that is as it is told to be, and remembers what it was asked."""

    facts: dict[str, bool] = field(default_factory=dict)
    grew: float = 1.0
    done: dict[str, datetime] = field(default_factory=dict)
    window: Window = field(default_factory=lambda: Window(NOW - DAY, NOW))
    asked: list[str] = field(default_factory=list)
    log: list[tuple[str, datetime]] = field(default_factory=list)
    lasting: set[str] = field(default_factory=set)
    diagnoses: list[list[dict]] = field(default_factory=list)
    gain: float = 0.0

    def _say(self, name: str) -> bool:
        self.asked.append(name)
        return self.facts.get(name, False)

    def harm(self) -> bool:
        return self._say("harm")

    def data_fault(self) -> bool:
        return self._say("data_fault")

    def previous_is_better(self) -> bool:
        return self._say("previous_is_better")

    def growth(self) -> float:
        self.asked.append("growth")
        return self.grew

    def last_done(self, action: str) -> datetime | None:
        return self.done.get(action)

    def times_done(self, action: str, since: datetime) -> int:
        return sum(name == action and at > since for name, at in self.log)

    def in_force(self, measure: str) -> bool:
        return measure in self.lasting

    def causes(self) -> list[list[dict]]:
        return self.diagnoses

    def forecast(self, horizon: str) -> Forecast:
        return Forecast(horizon, self.grew, 3, self.gain, 0.001, 0.0, 1000.0, Prices(2.0, 100.0))


FACTS = {"harm": harm, "data_fault": data_fault, "previous_is_better": previous_is_better}
TREES = st.recursive(
    st.sampled_from(sorted(FACTS)),
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    max_leaves=8,
)


def built(tree) -> Condition:
    if isinstance(tree, str):
        return FACTS[tree]
    joint, left, right = tree
    return built(left) & built(right) if joint == "and" else built(left) | built(right)


def truth(tree, facts: dict[str, bool]) -> bool:
    if isinstance(tree, str):
        return facts[tree]
    joint, left, right = tree
    return (all if joint == "and" else any)([truth(left, facts), truth(right, facts)])


@given(tree=TREES, facts=st.fixed_dictionaries(dict.fromkeys(FACTS, st.booleans())))
def test_joined_conditions_are_those_of_logic(tree, facts):
    assert built(tree).holds(Asked(facts)) == truth(tree, facts)


def test_what_need_not_be_asked_is_not():
    asked = Asked({"harm": False})
    assert not (harm & previous_is_better).holds(asked)
    assert asked.asked == ["harm"]
    asked = Asked({"harm": True})
    assert (harm | grown(2)).holds(asked)
    assert asked.asked == ["harm"]


def test_grown_holds_from_its_factor_on():
    held = [grown(1.35).holds(Asked(grew=grew)) for grew in (1.0, 1.349, 1.35, 3.0)]
    assert held == [False, False, True, True]


@pytest.mark.parametrize("factor", [1, 0.5, 0, -2, float("nan")])
def test_a_growth_that_always_or_never_holds_is_refused(factor):
    with pytest.raises(InvalidInput) as caught:
        grown(factor)
    assert caught.value.code == "playbook.no_growth"


def test_the_first_match_wins():
    responses = [on(harm & previous_is_better, roll_back), on(harm, retrain), on(data_fault, notify)]
    taken = {
        facts: first_match(responses, Asked(dict.fromkeys(facts, True)))
        for facts in [("harm", "previous_is_better"), ("harm", "data_fault"), ("data_fault",), ("previous_is_better",)]
    }
    found = {facts: (match.response.action.name, match.position) if match else None for facts, match in taken.items()}
    assert found == {
        ("harm", "previous_is_better"): ("roll_back", 0),
        ("harm", "data_fault"): ("retrain", 1),
        ("data_fault",): ("notify", 2),
        ("previous_is_better",): None,
    }


@pytest.mark.parametrize(("ago", "waits"), [(None, False), ("6d23h", True), ("7d", False), ("8d", False)])
def test_a_cool_down_holds_back(ago, waits):
    done = {} if ago is None else {"retrain": NOW - parsed(ago)}
    match = first_match([on(harm, retrain(cooldown="7d"))], Asked({"harm": True}, done=done))
    assert match is not None
    assert bool(match.waits) is waits


def test_a_cool_down_of_the_first_match_does_not_let_the_second_pass():
    responses = [on(harm, retrain(cooldown="7d")), on(harm, roll_back)]
    match = first_match(responses, Asked({"harm": True}, done={"retrain": NOW - DAY}))
    assert match == msgspec.structs.replace(match, position=0, waits="cooling down")


def test_a_cool_down_is_of_its_own_action():
    match = first_match([on(harm, retrain(cooldown="7d"))], Asked({"harm": True}, done={"roll_back": NOW - DAY}))
    assert match is not None
    assert not match.waits


@pytest.mark.parametrize(("ago", "due"), [(None, False), ("59d23h", False), ("60d", True), ("61d", True)])
def test_an_action_falls_due_by_itself(ago, due):
    done = {} if ago is None else {"retrain": NOW - parsed(ago)}
    match = first_match([on(harm, retrain(at_least_every="60d"))], Asked(done=done))
    assert (match is not None) is due


@pytest.mark.parametrize("limits", [{"cooldown": "soon"}, {"at_least_every": "1mo"}])
def test_unreadable_limits_are_refused(limits):
    with pytest.raises(InvalidInput) as caught:
        retrain(**limits)
    assert caught.value.code == "duration.unreadable"


def test_only_conditions_are_conditions():
    with pytest.raises(InvalidInput) as caught:
        on(harm.holds, retrain)  # type: ignore[arg-type]
    assert caught.value.code == "playbook.not_a_condition"


@pytest.mark.parametrize("year", [2023, 2024, 2100])
def test_each_month_begins_once(year):
    """Daily turns through a year and a bit: 2024 has a leap day, 2100 has none."""
    monthly = every("1mo", retrain).condition
    start = datetime(year, 1, 1, tzinfo=UTC)
    days = [start + number * DAY for number in range(367)]
    held = [end for begin, end in pairwise(days) if monthly.holds(Asked(window=Window(begin, end)))]
    months = [
        start + sum(calendar.monthrange(year, month)[1] for month in range(1, upto + 1)) * DAY for upto in range(13)
    ]
    assert held == [begin for begin in months if start < begin <= days[-1]]
    assert (held[-1].month, held[-1].day, held[-1].year) == (1, 1, year + 1)


@pytest.mark.parametrize(
    ("start", "end", "holds"),
    [
        ("2025-12-31T23:59:59", "2026-01-01T00:00:00", True),
        ("2026-01-01T00:00:00", "2026-01-01T00:00:01", False),
        ("2024-02-28T12:00:00", "2024-02-29T12:00:00", False),
        ("2024-02-29T12:00:00", "2024-03-01T12:00:00", True),
        ("2026-01-15T00:00:00", "2026-03-20T00:00:00", True),
        ("2026-01-02T00:00:00", "2026-01-31T23:59:59", False),
    ],
)
def test_a_month_begins_at_midnight_of_its_first_day(start, end, holds):
    window = Window(*(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end)))
    assert every("1mo", retrain).condition.holds(Asked(window=window)) is holds


@given(
    hours=st.integers(1, 400),
    start=st.datetimes(datetime(1971, 1, 1), datetime(2090, 1, 1)),  # noqa: DTZ001 - the zone is given below
    length=st.timedeltas(timedelta(microseconds=1), timedelta(days=40)),
)
def test_periods_are_counted_from_1970(hours, start, length):
    window = Window(start.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + length)
    period, zero = timedelta(hours=hours), datetime(1970, 1, 1, tzinfo=UTC)
    last_boundary = zero + (window.end - zero) // period * period
    assert every(f"{hours}h", retrain).condition.holds(Asked(window=window)) == (last_boundary in window)


@pytest.mark.parametrize("period", ["0s", "2mo", "monthly", ""])
def test_periods_that_are_none_are_refused(period):
    with pytest.raises(InvalidInput):
        every(period, retrain)


def test_a_playbook_goes_to_json_and_back():
    responses = [on((harm | grown(1.5)) & data_fault, retrain(cooldown="7d")), every("1mo", roll_back)]
    plain = msgspec.to_builtins(responses)
    assert msgspec.json.decode(msgspec.json.encode(responses)) == plain
    assert plain[0]["condition"]["left"]["right"] == {"type": "grown", "factor": 1.5}
    assert [Response(one.condition, one.action) for one in responses] == responses


def parsed(text: str) -> timedelta:
    days, _, hours = text.partition("d")
    return timedelta(days=int(days), hours=int(hours.removesuffix("h") or 0))
