"""Windows of local time, against the wall clock read minute by minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.incidents.calendar import first_covering, span
from loopline.incidents.people import freeze_window, people

BERLIN = ZoneInfo("Europe/Berlin")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
CHANGES = [datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 4, 4, tzinfo=UTC)]


def clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


@given(
    bounds=st.lists(st.integers(0, 1439), min_size=2, max_size=2, unique=True),
    zone=st.sampled_from(ZONES),
    day=st.sampled_from(CHANGES),
    minutes=st.integers(0, 3 * 1440),
)
@settings(max_examples=300, deadline=None)
def test_a_daily_window_covers_what_the_wall_clock_says(bounds, zone, day, minutes):
    """Also on the days when clocks change; a moment of the wall clock that comes twice belongs to the window both times."""
    start, end = bounds
    found = span(clock(start), clock(end), zone)
    at = day + timedelta(minutes=minutes)
    local = at.astimezone(ZoneInfo(zone))
    reads = local.hour * 60 + local.minute
    inside = start <= reads < end if start < end else reads >= start or reads < end
    covered = found.covering(at)
    if inside:
        assert covered is not None
    elif covered is not None:  # between the two passes of a clock that was set back
        assert covered[0] <= at < covered[1]
        again = [at + timedelta(minutes=step) for step in range(1, 121)]
        assert any(moment < covered[1] and reads > _reads(moment, zone) for moment in again)


def _reads(moment: datetime, zone: str) -> int:
    local = moment.astimezone(ZoneInfo(zone))
    return local.hour * 60 + local.minute


@given(
    first=st.integers(0, 7 * 1440 - 1),
    length=st.integers(1, 7 * 1440 - 1),
    at=st.integers(0, 400 * 1440),
)
@settings(max_examples=200, deadline=None)
def test_a_weekly_window_in_utc_is_minutes_of_the_week(first, length, at):
    last = (first + length) % (7 * 1440)
    bounds = [f"{DAYS[point // 1440]} {clock(point % 1440)}" for point in (first, last)]
    moment = datetime(2025, 6, 2, tzinfo=UTC) + timedelta(minutes=at)  # a Monday
    found = span(*bounds).covering(moment)
    assert (found is not None) == ((at - first) % (7 * 1440) < length)
    if found:
        assert found[1] - found[0] == timedelta(minutes=length)
    ahead = span(*bounds).upcoming(moment)
    assert ahead is not None
    assert moment < ahead[0] <= moment + timedelta(days=7)


def test_a_weekend_keeps_its_wall_clock_over_the_change_to_winter_time():
    found = span("Fri 18:00", "Mon 08:00", "Europe/Berlin").covering(datetime(2026, 10, 25, 12, tzinfo=UTC))
    assert found == (datetime(2026, 10, 23, 16, tzinfo=UTC), datetime(2026, 10, 26, 7, tzinfo=UTC))


def test_a_bound_in_the_hour_that_is_left_out_is_the_change():
    """On 29 March 2026 Berlin's clocks go from 02:00 to 03:00, at 01:00 UTC."""
    found = span("02:30", "03:15", "Europe/Berlin").covering(datetime(2026, 3, 29, 1, 5, tzinfo=UTC))
    assert found == (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 3, 29, 1, 15, tzinfo=UTC))


def test_a_window_of_dates_comes_once_and_a_day_is_its_first_midnight():
    found = span("2026-12-20", "2027-01-02 08:00", "Europe/Berlin")
    assert found.covering(datetime(2026, 12, 19, 22, 59, tzinfo=UTC)) is None
    held = found.covering(datetime(2026, 12, 19, 23, tzinfo=UTC))
    assert held == (datetime(2026, 12, 19, 23, tzinfo=UTC), datetime(2027, 1, 2, 7, tzinfo=UTC))
    assert found.covering(datetime(2027, 1, 2, 7, tzinfo=UTC)) is None
    assert found.upcoming(datetime(2027, 1, 2, 7, tzinfo=UTC)) is None
    assert found.covering(datetime(2027, 12, 25, tzinfo=UTC)) is None


def test_of_windows_that_overlap_the_last_end_counts():
    spans = [span("20:00", "23:00"), span("22:00", "06:00")]
    found = first_covering(spans, datetime(2026, 5, 1, 22, 30, tzinfo=UTC))
    assert found is not None
    assert found[1] == datetime(2026, 5, 2, 6, tzinfo=UTC)


def test_freeze_windows_hold_retraining_and_promotion_and_rollback_only_if_said():
    at = datetime(2026, 5, 2, tzinfo=UTC)  # a Saturday
    usual, strict = freeze_window("Fri 18:00", "Mon 08:00"), freeze_window("Sat 00:00", "Sun 00:00", roll_back=False)
    monday = datetime(2026, 5, 4, 8, tzinfo=UTC)
    held = people(calm=[usual, strict]).held_until
    assert [held(action, at) for action in ("retrain", "promote", "notify")] == [monday, monday, None]
    assert held("roll_back", at) == datetime(2026, 5, 3, tzinfo=UTC)
    assert people(calm=[usual]).held_until("roll_back", at) is None


@pytest.mark.parametrize(
    ("bounds", "code"),
    [
        (("22:00", "Mon 08:00"), "calendar.mixed_bounds"),
        (("22:00", "22:00"), "calendar.empty"),
        (("2026-12-20", "2026-12-01"), "calendar.empty"),
        (("25:00", "07:00"), "calendar.unreadable"),
        (("Fri", "Mon"), "calendar.unreadable"),
        (("", "07:00"), "calendar.unreadable"),
        (("2026-02-30", "2026-03-01"), "calendar.no_such_day"),
        (("22:00", "07:00", "Europe/Atlantis"), "calendar.unknown_zone"),
        (("22:00", "07:00", "../../etc/passwd"), "calendar.unknown_zone"),
        (("22:00", "07:00", ""), "calendar.unknown_zone"),
    ],
)
def test_what_is_no_window_is_refused(bounds, code):
    with pytest.raises(InvalidInput) as caught:
        span(*bounds)
    assert caught.value.code == code


def test_people_that_name_nobody_are_refused():
    for said in ({"owner": " "}, {"escalate": [""]}, {"owner": "a\nb"}, {"escalate_after": "0s"}, {"calm": ["Fri"]}):
        with pytest.raises(InvalidInput):
            people(**said)
