"""Versions of real tables, alarms and webhooks fire schedules, each once."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from tests.pipelines.schedules.conftest import HandClock, executions

import loopline as ll
from loopline.errors import InvalidInput
from loopline.pipelines.schedules import schedule, signal, store
from loopline.pipelines.schedules.tick import ticks
from loopline.tables import TableSchema
from loopline.tables.tables import Tables

T0 = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEMA = TableSchema({"x": pl.Float64()})


@pytest.fixture
def clock():
    return HandClock(T0)


@pytest.fixture
def tables(tmp_path, clock):
    return Tables(tmp_path / "tables", durable=False, clock=clock)


def append(tables, clock, number, at):
    clock.moment = at
    row = {"_key": str(number), "_event_time": at, "_known_at": at, "_tombstone": False, "x": 1.0}
    rows = pl.DataFrame([row], schema=SCHEMA.all_columns)
    tables.open("arrivals").append(rows, writer="test", sequence=number)


def windows(home):
    return [(one["window_start"], one["window_end"]) for one in executions(home)]


def told(home, *schedules):
    with home.reading() as tx:
        return [(one.state, one.reason) for one in reversed(ticks(tx, [one.id for one in schedules]))]


def test_new_versions_are_one_tick_or_each_one(home, scheduler, declare, tables, clock):
    tables.create("arrivals", SCHEMA)
    append(tables, clock, 1, T0 + HOUR)
    declare(ll.on_table("arrivals"), at=clock.now(), tables=tables)
    declare(ll.on_table("arrivals", each=True), at=clock.now(), tables=tables, pipeline="each")
    mine = [scheduler(clock, tables=tables) for _ in range(2)]
    assert [one.step() for one in mine] == [[], []]
    append(tables, clock, 2, T0 + 2 * HOUR)
    append(tables, clock, 3, T0 + 3 * HOUR)
    assert [len(one.step()) for one in mine] == [3, 0]
    found = [(one["pipeline"], one["window_start"], one["window_end"]) for one in executions(home)]
    assert sorted(found) == [
        ("each", T0 + HOUR, T0 + 2 * HOUR),
        ("each", T0 + 2 * HOUR, T0 + 3 * HOUR),
        ("sales", T0 + HOUR, T0 + 3 * HOUR),
    ]


def test_versions_that_add_no_rows_are_passed_over(home, scheduler, declare, tables, clock):
    tables.create("arrivals", SCHEMA)
    [waiting] = declare(ll.on_table("arrivals"), at=T0, tables=tables)
    for number in (1, 2):
        append(tables, clock, number, T0 + number * HOUR)
    mine = scheduler(clock, tables=tables)
    assert len(mine.step()) == 1
    before = tables.open("arrivals").version
    assert tables.open("arrivals").compact()
    assert tables.open("arrivals").version > before
    assert mine.step() == []
    append(tables, clock, 3, T0 + 3 * HOUR)
    assert len(mine.step()) == 1
    assert [reason for _, reason in told(home, waiting)] == ["versions 1 to 2, 2 rows", "version 4, 1 rows"]


def test_windows_follow_each_other_though_versions_without_rows_lie_between(home, scheduler, declare, tables, clock):
    tables.create("arrivals", SCHEMA)
    declare(ll.on_table("arrivals"), at=T0, tables=tables)
    mine = scheduler(clock, tables=tables)
    append(tables, clock, 1, T0 + HOUR)
    append(tables, clock, 2, T0 + 2 * HOUR)
    assert len(mine.step()) == 1
    clock.moment = T0 + 3 * HOUR
    assert tables.open("arrivals").compact()
    assert mine.step() == []
    append(tables, clock, 3, T0 + 4 * HOUR)
    assert len(mine.step()) == 1
    assert windows(home)[-1] == (T0 + 2 * HOUR, T0 + 4 * HOUR)


def test_a_table_that_is_made_later_fires_with_its_first_rows(home, scheduler, declare, tables, clock):
    declare(ll.on_table("arrivals"), at=T0, tables=tables)
    mine = scheduler(clock, tables=tables)
    assert mine.step() == []
    tables.create("arrivals", SCHEMA)
    assert mine.step() == []
    append(tables, clock, 1, T0 + HOUR)
    assert len(mine.step()) == 1
    assert windows(home) == [(T0, T0 + HOUR)]


def test_what_is_committed_in_a_pause_fires_only_if_asked_for(home, scheduler, declare, tables, clock):
    tables.create("arrivals", SCHEMA)
    [waiting] = declare(ll.on_table("arrivals"), at=T0, tables=tables)
    mine = scheduler(clock, tables=tables)
    for number, catch_up in ((1, False), (2, True)):
        with home.transaction() as tx:
            schedule.pause(tx, waiting, at=T0, actor="ann", reason="x")
        append(tables, clock, number, T0 + number * HOUR)
        assert mine.step() == []
        with home.transaction() as tx:
            schedule.resume(tx, waiting, at=T0, actor="ann", reason="y", catch_up=catch_up, tables=tables)
        assert len(mine.step()) == catch_up


def test_clocks_set_back_between_versions_leave_a_window(home, scheduler, declare, tables, clock):
    tables.create("arrivals", SCHEMA)
    append(tables, clock, 1, T0 + 2 * HOUR)
    declare(ll.on_table("arrivals"), at=T0, tables=tables)
    append(tables, clock, 2, T0 + HOUR)
    scheduler(clock, tables=tables).step()
    assert windows(home) == [(T0 + HOUR - timedelta(microseconds=1), T0 + HOUR)]


def announce(home, key, *, at=T0, project="p", **subject):
    with home.transaction() as tx:
        return signal.announce(tx, project=project, kind="alarm", key=key, subject=subject, at=at)


def test_an_alarm_fires_those_that_wait_for_it_once(home, scheduler, declare, clock):
    declare(ll.on_alarm("harm"), ll.on_alarm(model="late"), ll.on_alarm("data_fault", model="late"), at=T0)
    mine = [scheduler(clock) for _ in range(2)]
    assert announce(home, "inc_1", model="late") is True
    assert announce(home, "inc_1", model="late") is False
    assert announce(home, "inc_2", project="other", model="late")
    assert [len(one.step()) for one in mine] == [1, 0]
    announce(home, "inc_3", kind="harm", model="late")
    assert len(mine[0].step()) == 2
    assert [len(one.step()) for one in mine] == [0, 0]


def test_a_pipeline_is_given_the_incident_that_fired_it(home, scheduler, declare, clock):
    given = []

    def start(tx, pipeline, params, window, at, *, tick):
        given.append(params)
        return tick

    declare(ll.on_alarm("harm", incident="opened", params={"region": "west"}), at=T0)
    subject = {"kind": "harm", "model": "late", "incident": "inc_1"}
    with home.transaction() as tx:
        signal.announce(tx, project="p", kind="alarm", key="inc_1", subject=subject, at=T0)
    scheduler(clock, start=start).step()
    assert given == [{"region": "west", "opened": "inc_1"}]


def test_a_signal_in_a_pause_is_noted_and_starts_nothing(home, scheduler, declare, clock):
    [waiting] = declare(ll.on_alarm(), at=T0)
    with home.transaction() as tx:
        schedule.pause(tx, waiting, at=T0, actor="ann", reason="x")
    announce(home, "inc_1")
    scheduler(clock).step()
    with home.transaction() as tx:
        schedule.resume(tx, waiting, at=T0, actor="ann", reason="x")
    assert scheduler(clock).step() == []
    assert told(home, waiting) == [("passed_over", "paused")]


def test_a_signal_whose_transaction_fails_was_never_there(home, scheduler, declare, clock):
    declare(ll.on_alarm(), at=T0)

    def open_and_fail():
        with home.transaction() as tx:
            signal.announce(tx, project="p", kind="alarm", key="inc_1", subject={}, at=T0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        open_and_fail()
    assert scheduler(clock).step() == []


def test_old_signals_are_forgotten_and_new_ones_kept(home, scheduler, clock):
    announce(home, "inc_1")
    scheduler(clock).step()
    clock.moment = T0 + timedelta(days=31)
    announce(home, "inc_2", at=clock.now())
    scheduler(clock).step()
    with home.reading() as tx:
        assert tx.execute(store.signal.select()).mappings().one()["at"] == clock.now()


@pytest.mark.parametrize("name", ["", "A", "a/b", "-a", "a" * 101])
def test_a_hook_that_no_address_can_hold_is_refused(name):
    with pytest.raises(InvalidInput):
        ll.on_webhook(name)


def test_a_table_without_a_name_is_refused():
    with pytest.raises(InvalidInput):
        ll.on_table("")
