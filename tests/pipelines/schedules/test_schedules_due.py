"""What a clock makes due, against all fire times listed one by one."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

import loopline as ll
from loopline.pipelines.schedules.due import AT_ONCE, COUNTED, due
from loopline.values import duration

T0 = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

policies = st.sampled_from(
    [("all", ""), ("all", "2h"), ("latest", ""), ("latest", "1h"), ("none", ""), ("none", "90s"), ("all", "5m")]
)


def fires_between(every, start, end):
    """Multiples of `every` minutes since 1970 in (start, end]."""
    step = every * 60
    first = int(start.timestamp() // step + 1) * step
    stamps = range(first, int(end.timestamp()) + 1, step)
    return [datetime.fromtimestamp(stamp, UTC) for stamp in stamps]


@settings(max_examples=150, deadline=None)
@given(
    every=st.sampled_from([1, 7, 60, 360]),
    policy=policies,
    passed=st.integers(0, 10_000),
    ahead=st.integers(-500, 20_000),
)
def test_what_is_due_is_what_the_policy_says_of_all_that_fired(every, policy, passed, ahead):
    start, now = T0 + passed * MINUTE, T0 + passed * MINUTE + ahead * MINUTE + timedelta(seconds=20)
    catch_up, within = policy
    found = due(ll.interval(f"{every}m", catch_up=catch_up, within=within), passed=start, now=now)
    fired = fires_between(every, start, now)
    if not fired:
        assert found is None
        return
    limit = duration(within) if within else timedelta(minutes=5) if catch_up == "none" else None
    fresh = [at for at in fired if limit is None or now - at <= limit]
    wanted = fresh[:AT_ONCE] if catch_up == "all" else fresh[-1:]
    assert [window.end for window in found.starts] == wanted
    assert {window.end - window.start for window in found.starts} <= {every * MINUTE}
    dropped = [at for at in fired if at not in fresh or (catch_up != "all" and at not in wanted)]
    late = found.passed_over
    assert (late is None) == (not dropped)
    if late is not None:
        assert (late.first, late.last, late.count) == (dropped[0], dropped[-1], min(len(dropped), COUNTED))
    assert found.passed == (wanted or dropped)[-1]


def test_a_month_of_minutes_is_looked_at_from_its_end():
    start, now = T0, T0 + timedelta(days=40)
    found = due(ll.cron("* * * * *", catch_up="latest"), passed=start, now=now)
    assert [window.end for window in found.starts] == [now]
    assert (found.passed_over.count, found.passed_over.last) == (COUNTED, now - MINUTE)


def test_a_clock_set_back_brings_nothing_until_it_is_past_what_was_decided():
    hourly = ll.cron("0 * * * *")
    first = due(hourly, passed=T0, now=T0 + timedelta(hours=3))
    assert len(first.starts) == 3
    for minutes in range(120, 240, 7):
        assert due(hourly, passed=first.passed, now=T0 + minutes * MINUTE) is None
    assert len(due(hourly, passed=first.passed, now=T0 + timedelta(hours=4)).starts) == 1


def test_the_window_of_a_tick_begins_where_the_one_before_fired():
    working = ll.cron("0 6 * * MON-FRI", zone="Europe/Berlin")
    monday = datetime(2026, 3, 30, 4, tzinfo=UTC)  # the clocks changed on Sunday
    [window] = due(working, passed=monday - timedelta(days=2), now=monday).starts
    assert (window.start, window.end) == (datetime(2026, 3, 27, 5, tzinfo=UTC), monday)
