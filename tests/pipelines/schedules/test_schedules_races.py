"""Several schedulers at once, in threads and in processes that are killed, on SQLite and PostgreSQL."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.pipelines.schedules.conftest import HandClock, executions, start, started

import loopline as ll
from loopline.pipelines.schedules import schedule, store
from loopline.pipelines.schedules.scheduler import Scheduler

T0 = datetime(2026, 3, 28, 12, tzinfo=UTC)  # clocks change in the night
MINUTE = timedelta(minutes=1)

SCHEDULES = [
    ll.cron("30 2 * * *", zone="Europe/Berlin"),
    ll.cron("*/20 * * * *", zone="Europe/Berlin"),
    ll.interval("45m"),
    ll.interval("1d", zone="Europe/Berlin", anchor="2026-01-01 02:15"),
]


def forget(home):
    with home.transaction() as tx:
        for table in (started, store.tick, store.schedule):
            tx.execute(sa.delete(table))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    when=st.sampled_from(SCHEDULES),
    jumps=st.lists(st.lists(st.integers(-90, 200), min_size=3, max_size=6), min_size=2, max_size=4),
)
def test_racing_schedulers_with_moving_clocks_start_every_tick_once(home, declare, when, jumps):
    forget(home)
    declare(when, at=T0)

    def run(moves):
        clock = HandClock(T0)
        mine = Scheduler(home, "p", start=start, clock=clock)
        for minutes in moves:
            clock.moment += minutes * MINUTE
            mine.step()
        return max(T0 + sum(moves[:count]) * MINUTE for count in range(len(moves) + 1))

    with ThreadPoolExecutor(len(jumps)) as pool:
        latest = max(pool.map(run, jumps))
    expected = list(takewhile(lambda at: at <= latest, when.after(T0)))
    assert sorted(one["window_end"] for one in executions(home)) == expected


_SCHEDULER = """
import sys
from datetime import datetime, timedelta
from loopline.pipelines.schedules.scheduler import Scheduler
from loopline.storage.database import Database
from tests.pipelines.schedules.conftest import HandClock, start

url, begin, ahead = sys.argv[1], datetime.fromisoformat(sys.argv[2]), int(sys.argv[3])
clock = HandClock(begin + timedelta(minutes=ahead))
scheduler = Scheduler(Database.open(url, durable=False), "p", start=start, clock=clock)
print("ready", flush=True)
for _ in range(int(sys.argv[4])):
    clock.moment += timedelta(minutes=1)
    scheduler.step()
print("done", flush=True)
"""


def begin_process(url, ahead, minutes):
    command = [sys.executable, "-c", _SCHEDULER, url, T0.isoformat(), str(ahead), str(minutes)]
    folder = os.path.abspath(f"{__file__}/../../../..")  # noqa: PTH100 - where `tests` is found
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)


@pytest.mark.heavy
@pytest.mark.slow
def test_killed_schedulers_leave_no_tick_missed_or_doubled(home, declare, database_url):
    declarations = declare(*SCHEDULES, at=T0)
    for more in (1, 5):
        pair = [begin_process(database_url, ahead, 10**6) for ahead in (0, -60)]
        for one in pair:
            assert one.stdout.readline() == "ready\n"
        wait_for_executions(home, len(executions(home)) + more)
        for one in pair:
            os.kill(one.pid, signal.SIGKILL)
            one.wait()
            one.stdout.close()
    pair = [begin_process(database_url, ahead, 120) for ahead in (700, 720)]  # over the hour that is left out
    for one in pair:
        assert one.communicate()[0] == "ready\ndone\n"
    with home.reading() as tx:
        decided = {one.id: schedule.get(tx, one.id).passed for one in declarations}
        ticks = [(row["schedule"], row["fire_at"]) for row in store.ticks(tx, list(decided), limit=None)]
    expected = [
        (one.id, fire)
        for one in declarations
        for fire in takewhile(lambda at, one=one: at <= decided[one.id], one.declared.after(T0))
    ]
    assert min(decided.values()) >= T0 + 780 * MINUTE
    assert sorted(ticks) == sorted(expected)
    assert sorted(one["window_end"] for one in executions(home)) == sorted(fire for _, fire in expected)


def wait_for_executions(home, count):
    """So that a kill falls into work under way."""
    while len(executions(home)) < count:
        time.sleep(0.01)
