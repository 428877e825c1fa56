"""Intervals: elapsed and of the calendar, against dates counted one by one."""

import calendar
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loopline as ll
from loopline.errors import InvalidInput

BERLIN = ZoneInfo("Europe/Berlin")


def first(count, *, after, **said):
    return list(islice(ll.interval(**said).after(datetime.fromisoformat(after)), count))


def in_berlin(moments):
    return [f"{at.astimezone(BERLIN):%Y-%m-%d %H:%M}" for at in moments]


@settings(max_examples=200, deadline=None)
@given(
    start=st.integers(0, 315_000_000).map(
        lambda seconds: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    ),
    hours=st.integers(1, 100),
    anchor=st.integers(0, 600_000_000).map(
        lambda seconds: datetime(2015, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    ),
)
def test_elapsed_intervals_are_multiples_from_the_anchor(start, hours, anchor):
    found = list(islice(ll.interval(f"{hours}h", anchor=anchor).after(start), 5))
    assert all((at - anchor) % timedelta(hours=hours) == timedelta(0) for at in found)
    assert timedelta(0) < found[0] - start <= timedelta(hours=hours)
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(hours=hours)}


@settings(max_examples=100, deadline=None)
@given(
    day=st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    every=st.sampled_from([("1d", 1), ("3d", 3), ("1w", 7), ("2w", 14)]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)
def test_days_and_weeks_are_the_calendars(day, every, zone):
    period, length = every
    start = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    found = list(islice(ll.interval(period, anchor="2024-01-01 06:00", zone=zone).after(start), 20))
    local = [at.astimezone(ZoneInfo(zone)) for at in found]
    assert {f"{at:%H:%M}" for at in local} == {"06:00"}
    days = [day + timedelta(days=ahead) for ahead in range(-2, 20 * length + 40)]
    due = [one for one in days if (one - date(2024, 1, 1)).days % length == 0]
    after = [one for one in due if datetime(one.year, one.month, one.day, 6, tzinfo=ZoneInfo(zone)) > start]
    assert [at.date() for at in local] == after[:20]


@settings(max_examples=100, deadline=None)
@given(year=st.integers(2000, 2030), day=st.integers(1, 31), count=st.integers(1, 13))
def test_months_are_counted_from_the_anchor_and_end_on_their_last_day(year, day, count):
    anchor = f"{year}-01-{day:02d} 06:00"
    found = list(islice(ll.interval(f"{count}mo", anchor=anchor).after(datetime(year, 1, 1, tzinfo=UTC)), 30))
    expected, month = [], 0
    while len(expected) < 30:
        at_year, at_month = year + month // 12, month % 12 + 1
        last = calendar.monthrange(at_year, at_month)[1]
        expected.append(datetime(at_year, at_month, min(day, last), 6, tzinfo=UTC))
        month += count
    assert found == expected


def test_without_an_anchor_weeks_begin_on_monday_and_months_on_the_first():
    [monday] = first(1, period="1w", zone="Europe/Berlin", after="2026-11-29T12:00+00:00")
    assert in_berlin([monday]) == ["2026-11-30 00:00"]
    assert in_berlin(first(2, period="1mo", zone="Europe/Berlin", after="2026-11-29T12:00+00:00")) == [
        "2026-12-01 00:00",
        "2027-01-01 00:00",
    ]


def test_clocks_that_change():
    daily = first(3, period="1d", anchor="2026-01-01 02:30", zone="Europe/Berlin", after="2026-03-28T00:00+00:00")
    assert in_berlin(daily) == ["2026-03-28 02:30", "2026-03-29 03:00", "2026-03-30 02:30"]
    passing = first(3, period="24h", anchor="2026-01-01 02:30", zone="Europe/Berlin", after="2026-03-28T00:00+00:00")
    assert in_berlin(passing) == ["2026-03-28 02:30", "2026-03-29 03:30", "2026-03-30 03:30"]


def test_a_day_that_a_calendar_left_out_fires_once():
    samoa = ll.interval("1d", zone="Pacific/Apia")
    found = list(islice(samoa.after(datetime(2011, 12, 28, 12, tzinfo=UTC)), 3))
    days = [f"{at.astimezone(ZoneInfo('Pacific/Apia')):%m-%d}" for at in found]
    assert days == ["12-29", "12-31", "01-01"]


def test_before_the_anchor_it_fires_too_and_it_ends_with_the_calendar():
    [early] = first(1, period="1y", anchor="2026-02-03", after="2019-12-01T00:00+00:00")
    assert early == datetime(2020, 2, 3, tzinfo=UTC)
    late = datetime(9990, 6, 1, tzinfo=UTC)
    assert len(list(takewhile(lambda _: True, ll.interval("1y").after(late)))) == 9


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"period": "0s"}, "schedule.empty_period"),
        ({"period": "1mo2d"}, "duration.unreadable"),
        ({"period": "1d", "anchor": "noon"}, "schedule.bad_anchor"),
        ({"period": "1d", "zone": "Mars"}, "calendar.unknown_zone"),
    ],
)
def test_what_cannot_be_read_is_refused(said, code):
    with pytest.raises(InvalidInput) as told:
        ll.interval(**said)
    assert told.value.code == code
