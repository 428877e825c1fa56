import calendar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.incidents.condition import Condition
from loopline.incidents.conditions import (
    ask_for_labels,
    broken_data,
    cause,
    data_fault,
    grown,
    harm,
    notify,
    previous_is_better,
    retrain,
    retraining_pays,
    roll_back,
    serve_fallback,
    widen_band,
)
from loopline.incidents.forecast import Forecast
from loopline.incidents.playbook import Response, consider, every, first_match, on
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


@pytest.mark.parametrize(("days", "waits"), [((40, 31), False), ((40, 20), False), ((20, 5), True), ((30, 29), False)])
def test_a_budget_holds_back_within_thirty_days(days, waits):
    log = [("retrain", NOW - ago * DAY) for ago in days]
    match = first_match([on(harm, retrain(at_most_a_month=2))], Asked({"harm": True}, log=log))
    assert match is not None
    assert match.waits == ("the budget is spent: it was carried out 2 times within 30 days" if waits else "")


@pytest.mark.parametrize(
    "limits",
    [
        {"at_most_a_month": 0},
        {"cooldown": "7d", "at_least_every": "3d"},
        {"at_most_a_month": 2, "at_least_every": "14d"},
        {"unless": "broken"},
    ],
)
def test_limits_that_cannot_be_kept_are_refused(limits):
    with pytest.raises(InvalidInput) as caught:
        retrain(**limits)
    assert caught.value.code in {"playbook.no_budget", "playbook.floor", "playbook.not_a_condition"}


def test_the_floor_waits_too_while_the_data_are_broken():
    action = retrain(at_least_every="60d", unless=broken_data)
    asked = Asked(done={"retrain": NOW - 61 * DAY}, diagnoses=[[{"kind": "null_rate", "sentence": "x is missing."}]])
    match = first_match([on(harm, action)], asked)
    assert match is not None
    assert match.waits == "the likely cause is null_rate: x is missing"


CAUSES = [
    [{"kind": "unit_change", "column": "x"}, {"kind": "concept", "columns": ["y"]}],
    [{"column": "z", "effect": 0.3}],
]


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        (cause("unit_change"), True),
        (cause("concept"), False),
        (cause("concept", among=2), True),
        (cause("concept", among=2, about="y"), True),
        (cause("concept", among=2, about=["x", "z"]), False),
        (cause("drift", about="z"), True),
        (cause("null_rate", "stale", among=9), False),
        (broken_data, True),
        (~broken_data, False),
        (~cause("null_rate") & cause("unit_change"), True),
    ],
)
def test_a_cause_is_asked_for_among_the_likeliest_of_each_incident(asked, holds):
    assert asked.holds(Asked(diagnoses=CAUSES)) is holds


@pytest.mark.parametrize("asked", [{"kinds": ("gremlins",)}, {"kinds": ()}, {"kinds": ("drift",), "among": 0}])
def test_causes_that_no_diagnosis_names_are_refused(asked):
    kinds = asked.pop("kinds")
    with pytest.raises(InvalidInput) as caught:
        cause(*kinds, **asked)
    assert caught.value.code == "playbook.cause"


def test_what_pays_is_told_with_its_sums():
    match = first_match([on(harm | retraining_pays("30d"), retrain)], Asked(gain=0.002, grew=1.5))
    assert match is not None
    assert match.sums["saving"] == pytest.approx(120)
    assert match.reason.startswith("retraining is expected to save 120 over 30d")
    assert first_match([on(retraining_pays("30d"), retrain)], Asked(gain=0.001, grew=1.5)) is None


def test_a_measure_in_force_is_passed_over():
    responses = [on(data_fault, serve_fallback), on(data_fault, notify)]
    asked = Asked({"data_fault": True}, lasting={"serve_fallback"})
    match = first_match(responses, asked)
    assert match is not None
    assert match.response.action.name == "notify"
    assert [(one.matches, one.reason) for one in consider(responses, asked)] == [
        (False, "it is in force"),
        (True, "the data going into the model are broken"),
    ]


def test_a_dry_run_is_recorded_by_a_name_of_its_own():
    action = retrain(dry_run=True, cooldown="7d")
    asked = Asked({"harm": True}, done={"retrain": NOW - DAY})
    match = first_match([on(harm, action)], asked)
    assert match is not None
    assert (action.recorded, match.waits) == ("dry_run:retrain", "")
    asked.done["dry_run:retrain"] = NOW - DAY
    assert first_match([on(harm, action)], asked).waits == "cooling down"


@pytest.mark.parametrize("make", [lambda: widen_band(to=1.0), lambda: ask_for_labels(0), lambda: retraining_pays("0d")])
def test_actions_that_ask_for_nothing_are_refused(make):
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.code in {"playbook.band", "playbook.no_rows", "playbook.empty_horizon"}
