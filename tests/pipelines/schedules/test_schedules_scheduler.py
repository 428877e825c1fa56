"""Ticks in the database: each once, whoever is alive, however clocks jump; on SQLite and PostgreSQL."""

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from tests.pipelines.schedules.conftest import HandClock, executions, start

import loopline as ll
from loopline.errors import InvalidInput, NotFound, Unavailable
from loopline.pipelines.schedules import schedule
from loopline.pipelines.schedules.tick import ticks

T0 = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def windows(home):
    return [(one["window_start"], one["window_end"]) for one in executions(home)]


def ends(home):
    return [one["window_end"] for one in executions(home)]


def all_ticks(home, *schedules):
    with home.reading() as tx:
        return ticks(tx, [one.id for one in schedules])


def test_a_tick_starts_an_execution_with_its_window_and_params(home, scheduler, declare):
    clock = HandClock(T0)
    [hourly] = declare(ll.cron("0 * * * *", params={"region": "south"}), at=T0)
    assert hourly.next_at == T0 + HOUR
    mine = scheduler(clock)
    assert mine.step() == []
    clock.moment = T0 + HOUR
    [tick] = mine.step()
    assert mine.step() == []
    [execution] = executions(home)
    assert (execution["pipeline"], execution["region"]) == ("sales", "south")
    assert windows(home) == [(T0, T0 + HOUR)]
    assert (tick.execution, tick.state, tick.fire_at) == (execution["id"], "started", T0 + HOUR)
    assert all_ticks(home, hourly) == [tick]


@pytest.mark.parametrize(("catch_up", "hours"), [("all", [1, 2, 3, 4, 5]), ("latest", [5]), ("none", [])])
def test_hours_missed_while_everything_was_down(home, scheduler, declare, catch_up, hours):
    [hourly] = declare(ll.cron("0 * * * *", catch_up=catch_up), at=T0)
    clock = HandClock(T0 + 5 * HOUR + HOUR / 2)
    scheduler(clock).step()
    assert ends(home) == [T0 + hour * HOUR for hour in hours]
    late = [one for one in all_ticks(home, hourly) if one.state == "passed_over"]
    assert sum(one.count for one in late) == 5 - len(hours)
    clock.moment = T0 + 6 * HOUR
    scheduler(clock).step()
    assert ends(home)[-1] == T0 + 6 * HOUR


def test_a_long_outage_is_caught_up_with_in_several_steps(home, scheduler, declare):
    declare(ll.interval("1m"), at=T0)
    mine = scheduler(HandClock(T0 + timedelta(minutes=250)))
    assert [len(mine.step()) for _ in range(4)] == [100, 100, 50, 0]
    assert ends(home) == [T0 + timedelta(minutes=minute) for minute in range(1, 251)]


def test_a_clock_that_jumps_ahead_and_back_misses_and_doubles_nothing(home, scheduler, declare):
    declare(ll.interval("10m"), at=T0)
    clock = HandClock(T0)
    mine = scheduler(clock)
    for minute in [5, 12, 72, 13, 21, 40, 11, 72, 95, 35, 130]:
        clock.moment = T0 + timedelta(minutes=minute)
        mine.step()
    assert ends(home) == [T0 + timedelta(minutes=minute) for minute in range(10, 131, 10)]


def test_schedulers_whose_clocks_differ_start_each_tick_once(home, scheduler, declare):
    declare(ll.cron("*/15 * * * *"), at=T0)
    clocks = [HandClock(T0), HandClock(T0 + HOUR), HandClock(T0 - HOUR)]
    mine = [scheduler(clock) for clock in clocks]
    for _ in range(30):
        for clock, one in zip(clocks, mine, strict=True):
            clock.moment += timedelta(minutes=7)
            one.step()
    assert ends(home) == [T0 + timedelta(minutes=minute) for minute in range(15, 271, 15)]


def test_what_falls_into_a_pause_is_not_started_unless_asked_for(home, scheduler, declare):
    [hourly] = declare(ll.cron("0 * * * *"), at=T0)
    clock = HandClock(T0 + 3 * HOUR)
    with home.transaction() as tx:
        schedule.pause(tx, hourly, at=T0, actor="ann", reason="holidays")
    assert scheduler(clock).step() == []
    with home.transaction() as tx:
        again = schedule.resume(tx, hourly, at=clock.now(), actor="ann", reason="back")
    assert (again.state, again.next_at) == ("active", T0 + 4 * HOUR)
    assert scheduler(clock).step() == []
    clock.moment = T0 + 4 * HOUR
    scheduler(clock).step()
    assert ends(home) == [T0 + 4 * HOUR]
    with home.transaction() as tx:
        schedule.pause(tx, hourly, at=clock.now(), actor="ann", reason="x")
        schedule.resume(tx, hourly, at=T0 + 6 * HOUR, actor="ann", reason="y", catch_up=True)
    clock.moment = T0 + 6 * HOUR
    scheduler(clock).step()
    assert ends(home) == [T0 + hour * HOUR for hour in (4, 5, 6)]


def test_resuming_repairs_what_a_clock_far_ahead_left_and_doubles_nothing(home, scheduler, declare):
    [daily] = declare(ll.cron("0 6 * * *", catch_up="latest"), at=T0)
    scheduler(HandClock(datetime(2031, 1, 1, 12, tzinfo=UTC))).step()
    clock = HandClock(T0 + 7 * HOUR)
    assert scheduler(clock).step() == []
    with home.transaction() as tx:
        schedule.resume(tx, daily, at=T0, actor="ann", reason="the clock was wrong")
    scheduler(clock).step()
    scheduler(HandClock(datetime(2031, 1, 1, 12, tzinfo=UTC))).step()
    assert ends(home) == [datetime(2031, 1, 1, 6, tzinfo=UTC), T0 + 6 * HOUR]


def test_while_everything_is_held_nothing_starts_and_it_is_caught_up_with(home, scheduler, declare):
    declare(ll.cron("0 * * * *"), at=T0)
    clock, held = HandClock(T0 + 2 * HOUR), ["frozen"]
    mine = scheduler(clock, held=lambda _: held[0])
    assert mine.step() == []
    held[0] = ""
    assert len(mine.step()) == 2


def test_a_pipeline_that_refuses_leaves_a_tick_that_says_so_and_nothing_else(home, scheduler, declare):
    [hourly] = declare(ll.cron("0 * * * *"), at=T0)

    def refuse(tx, pipeline, params, window, at, *, tick):
        start(tx, pipeline, params, window, at, tick=tick)
        raise InvalidInput("pipeline.unknown_param", "sales takes no region")

    with capture_logs():
        [tick] = scheduler(HandClock(T0 + HOUR), start=refuse).step()
    assert (tick.state, tick.execution) == ("refused", None)
    assert "sales takes no region" in tick.reason
    assert executions(home) == []
    assert scheduler(HandClock(T0 + HOUR)).step() == []
    assert all_ticks(home, hourly) == [tick]


@pytest.mark.parametrize("trouble", [Unavailable("x.y", "gone"), ZeroDivisionError()])
def test_what_cannot_start_now_is_due_again_and_keeps_no_other_waiting(home, scheduler, declare, trouble):
    declare(ll.cron("0 * * * *"), at=T0)
    declare(ll.cron("0 * * * *"), at=T0, pipeline="other")

    def fail(tx, pipeline, params, window, at, *, tick):
        if pipeline == "sales":
            raise trouble
        return start(tx, pipeline, params, window, at, tick=tick)

    clock = HandClock(T0 + HOUR)
    with capture_logs() as logs:
        assert len(scheduler(clock, start=fail).step()) == 1
    assert [line["event"] for line in logs] == ["schedule_failed"]
    scheduler(clock).step()
    assert sorted(one["pipeline"] for one in executions(home)) == ["other", "sales"]


def test_declaring_again_keeps_what_is_the_same_and_removes_what_is_gone(home, scheduler, declare):
    [hourly] = declare(ll.cron("0 * * * *"), at=T0)
    clock = HandClock(T0 + HOUR)
    scheduler(clock).step()
    changed, daily = declare(ll.cron("0 * * * *", catch_up="latest"), ll.cron("@daily"), at=T0 + 3 * HOUR)
    assert (changed.id, changed.passed, changed.declared.policy.catch_up) == (hourly.id, T0 + HOUR, "latest")
    assert daily.passed == T0 + 3 * HOUR
    assert declare(ll.cron("@daily"), at=T0 + 4 * HOUR) == [daily]
    with home.reading() as tx:
        assert [one.id for one in schedule.find(tx, "p")] == [daily.id]
        with pytest.raises(NotFound):
            schedule.get(tx, hourly.id)
    clock.moment = T0 + 9 * HOUR
    assert scheduler(clock).step() == []
    [again] = declare(ll.cron("0 * * * *"), at=clock.now())
    assert (again.id, again.next_at) == (hourly.id, T0 + 10 * HOUR)


def test_two_params_are_two_schedules(home, scheduler, declare):
    both = [ll.cron("@hourly", params={"region": region}) for region in ("north", "south")]
    declare(*both, at=T0)
    scheduler(HandClock(T0 + HOUR)).step()
    assert sorted(one["region"] for one in executions(home)) == ["north", "south"]


def test_what_is_no_schedule_is_refused(home):
    with pytest.raises(InvalidInput, match="no schedule"):
        schedule.of_pipeline(["0 6 * * *"])
    assert schedule.of_pipeline(None) == ()
    assert len(schedule.of_pipeline(ll.cron("@daily"))) == 1
