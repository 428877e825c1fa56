"""Cron against a clock that is watched minute by minute, in zones whose clocks change in every way there is."""

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

import loopline as ll
from loopline.errors import InvalidInput

MINUTE = timedelta(minutes=1)
CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, tzinfo=UTC)),  # by half an hour
    ("Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC)),
    ("America/St_Johns", datetime(2010, 11, 7, tzinfo=UTC)),  # a minute after midnight, back over it
    ("America/St_Johns", datetime(2010, 3, 14, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2026, 4, 23, tzinfo=UTC)),  # midnight is left out
    ("America/Havana", datetime(2026, 3, 8, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2026, 2, 15, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, tzinfo=UTC)),  # a day is left out
    ("Asia/Kathmandu", datetime(2026, 6, 1, tzinfo=UTC)),
    ("UTC", datetime(2026, 6, 1, tzinfo=UTC)),
]

minutes = st.one_of(
    st.sampled_from([("*", set(range(60))), ("*/20", {0, 20, 40})]),
    st.sets(st.integers(0, 59), min_size=1, max_size=3).map(lambda some: (",".join(map(str, some)), some)),
)
hours = st.one_of(
    st.sampled_from([("*", set(range(24))), ("*/2", set(range(0, 24, 2)))]),
    st.sets(st.sampled_from([0, 1, 2, 3, 23]), min_size=1, max_size=4).map(
        lambda some: (",".join(map(str, some)), some)
    ),
)
days = st.one_of(
    st.just(("*", "*", lambda _: True)),
    st.integers(1, 31).map(lambda day: (str(day), "*", lambda at: at.day == day)),
    st.integers(0, 6).map(lambda day: ("*", str(day), lambda at: at.isoweekday() % 7 == day)),
    st.tuples(st.integers(1, 31), st.integers(0, 6)).map(
        lambda both: (str(both[0]), str(both[1]), lambda at: at.day == both[0] or at.isoweekday() % 7 == both[1])
    ),
)


def watched(matches, zone, start, end, *, fixed):
    """Fire times in (start, end], found by looking at the clock each minute.

    Said times fire when the clock first reaches or passes them; with `*` whenever it reads one.
    """
    fires, highest, at = [], None, start - timedelta(days=2)
    while at <= end:
        wall = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        if fixed:
            between = highest is not None and reached(matches, highest, wall)
            highest = wall if highest is None else max(highest, wall)
        else:
            between = matches(wall)
        if between and at > start:
            fires.append(at)
        at += MINUTE
    return fires


def reached(matches, before, wall):
    while before < wall:
        before += MINUTE
        if matches(before):
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(change=st.sampled_from(CHANGES), minute=minutes, hour=hours, day=days, offset=st.integers(-1500, 1500))
def test_cron_fires_when_a_watched_clock_says(change, minute, hour, day, offset):
    zone, near = change
    start = near + offset * MINUTE
    end = start + timedelta(days=2)
    expression = f"{minute[0]} {hour[0]} {day[0]} * {day[1]}"
    fixed = not minute[0].startswith("*") and not hour[0].startswith("*")

    def matches(wall):
        return wall.minute in minute[1] and wall.hour in hour[1] and day[2](wall)

    found = list(takewhile(lambda at: at <= end, ll.cron(expression, zone=zone).after(start)))
    assert found == watched(matches, zone, start, end, fixed=fixed)


@pytest.mark.parametrize(
    "expression", ["0 6 * * MON-FRI", "15 4 L * *", "0 12 * * MON#2", "*/7 * * * *", "5 4 1,15 * 3"]
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_where_clocks_never_change_the_library_says_the_same(expression, zone):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    expected = islice(CronSim(expression, start.astimezone(ZoneInfo(zone))), 200)
    assert list(islice(ll.cron(expression, zone=zone).after(start), 200)) == [at.astimezone(UTC) for at in expected]


def test_the_rule_on_days_when_clocks_change():
    def berlin(expression, day):
        fires = ll.cron(expression, zone="Europe/Berlin").after(datetime.fromisoformat(f"{day}T00:00+01:00"))
        until = datetime.fromisoformat(f"{day}T04:30+02:00")
        return [f"{at.astimezone(ZoneInfo('Europe/Berlin')):%H:%M%z}" for at in takewhile(lambda at: at < until, fires)]

    assert berlin("30 2 * * *", "2026-03-29") == ["03:00+0200"]  # left out: when the clocks have changed
    assert berlin("0 2,3 * * *", "2026-03-29") == ["03:00+0200"]  # both at once is once
    assert berlin("30 * * * *", "2026-03-29") == ["00:30+0100", "01:30+0100", "03:30+0200"]
    assert berlin("30 2 * * *", "2026-10-25") == ["02:30+0200"]  # repeated: the first time
    assert berlin("30 * * * *", "2026-10-25") == ["01:30+0200", "02:30+0200", "02:30+0100"]


def test_a_leap_day_is_waited_for():
    after = datetime(2096, 3, 1, tzinfo=UTC)  # 2100 has none
    assert next(ll.cron("0 0 29 2 *").after(after)) == datetime(2104, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"expression": "0 6 * *"}, "schedule.bad_cron"),
        ({"expression": "0 0 6 * * *"}, "schedule.bad_cron"),
        ({"expression": "61 6 * * *"}, "schedule.bad_cron"),
        ({"expression": "0 0 31 2 *"}, "schedule.bad_cron"),
        ({"expression": ""}, "schedule.bad_cron"),
        ({"expression": "0 6 * * *", "zone": "Europe/Bonn"}, "calendar.unknown_zone"),
        ({"expression": "0 6 * * *", "catch_up": "some"}, "schedule.unknown_catch_up"),
        ({"expression": "0 6 * * *", "within": "soon"}, "duration.unreadable"),
        ({"expression": "0 6 * * *", "within": "0s"}, "schedule.no_time_to_start"),
    ],
)
def test_what_cannot_be_read_is_refused(said, code):
    with pytest.raises(InvalidInput) as told:
        ll.cron(**said)
    assert told.value.code == code


def test_macros_are_known():
    assert ll.cron("@daily", zone="Europe/Berlin").expression == "0 0 * * *"
