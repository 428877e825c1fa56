"""Failures and remedies as rows, on SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

import loopline as ll
from loopline.pipelines.healing import postponed, record
from loopline.pipelines.healing.raised import raised
from loopline.pipelines.healing.record import Where
from loopline.values import Window

T0 = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
HEAL = [ll.when("access", ll.wait("30m", every="10m"), ll.last_good, ll.skip_window(backfill_after="6h"))]


def fail(database, attempt, *, at, error=None, execution="exec_1"):
    where = Where(project="p", pipeline="sales", step="read", execution=execution, attempt=attempt)
    with database.transaction() as tx:
        return record.failed(tx, where, raised(error or PermissionError("no"), source="crm"), HEAL, at=at)


def outcomes(database):
    with database.reading() as tx:
        return [(one.kind, one.number, one.outcome) for one in record.history(tx, "exec_1", "read")]


def test_what_is_tried_is_written_and_what_fails_escalates(database):
    kinds = [fail(database, attempt, at=T0 + attempt * 10 * MINUTE)[1].kind for attempt in range(6)]
    assert kinds == ["wait", "wait", "wait", "last_good", "skip_window", "fail"]
    assert outcomes(database) == [
        ("wait", 1, "failed"), ("wait", 2, "failed"), ("wait", 3, "failed"), ("last_good", 1, "failed"),
        ("skip_window", 1, "ended"),
    ]  # fmt: skip
    with database.reading() as tx:
        found = record.failures(tx, "p", start=T0 - MINUTE, end=T0 + HOUR)
        assert record.failures(tx, "other", start=T0 - MINUTE, end=T0 + HOUR) == []
        assert len(record.failures(tx, None, start=T0, end=T0 + 20 * MINUTE)) == 2
        newest = record.failures(tx, "p", start=T0 - MINUTE, end=T0 + HOUR, limit=2)
    assert [(one.attempt, one.class_, one.source, one.name) for one in found] == [
        (attempt, "access", "crm", "PermissionError") for attempt in range(6)
    ]
    assert [one.attempt for one in newest] == [4, 5]


def test_told_twice_of_one_attempt_it_says_the_same(database):
    first = fail(database, 0, at=T0)
    assert fail(database, 0, at=T0) == first
    assert outcomes(database) == [("wait", 1, "open")]


def test_a_remedy_that_helped_says_so_and_what_it_cost(database):
    fail(database, 0, at=T0)
    with database.transaction() as tx:
        for _ in range(2):  # the second time there is none under way
            record.ended(tx, execution="exec_1", step="read", helped=True, at=T0 + MINUTE, detail={"stale_seconds": 60})
        [found] = record.history(tx, "exec_1", "read")
    assert (found.outcome, found.ended_at, found.detail) == ("helped", T0 + MINUTE, {"stale_seconds": 60})


def test_a_transaction_that_fails_has_noted_nothing(database):
    def fail_and_stop():
        with database.transaction() as tx:
            where = Where(project="p", pipeline="sales", step="read", execution="exec_1", attempt=0)
            record.failed(tx, where, raised(ValueError()), HEAL, at=T0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_and_stop()
    assert outcomes(database) == []


def postpone(database, execution, at, *, times=2, params=None):
    with database.transaction() as tx:
        return postponed.postpone(
            tx, ll.skip_window(backfill_after="6h", times=times), project="p", pipeline="sales",
            params=params or {"region": "north"}, window=Window(T0 - HOUR, T0), execution=execution, at=at, why="no access",
        )  # fmt: skip


def test_a_skipped_window_is_executed_again_once_however_many_look(database):
    made = postpone(database, "exec_1", T0)
    assert made == postpone(database, "exec_1", T0) or made.number == 1
    started = []

    def start(tx, one, at):
        started.append((one.pipeline, one.params, one.window, at))
        return f"exec-{one.id}"

    def look(now):
        return postponed.start_due(database, "p", start, now=now)

    assert look(T0 + 5 * HOUR) == []
    with ThreadPoolExecutor(4) as pool:
        found = [one for each in pool.map(look, [T0 + 6 * HOUR] * 4) for one in each]
    assert [one.execution for one in found] == [f"exec-{made.id}"]
    assert started == [("sales", {"region": "north"}, Window(T0 - HOUR, T0), T0 + 6 * HOUR)]
    with database.reading() as tx:
        assert postponed.waiting(tx, "p") == []


def test_a_window_is_put_off_so_often_and_no_more(database):
    numbers = [postpone(database, f"exec_{number}", T0 + number * HOUR) for number in range(3)]
    assert [one.number if one else None for one in numbers] == [1, 2, None]
    assert postpone(database, "exec_9", T0, params={"region": "south"}).number == 1
    with database.transaction() as tx:
        never = postponed.postpone(
            tx, ll.skip_window, project="p", pipeline="sales", params={}, window=Window(T0 - HOUR, T0),
            execution="exec_1", at=T0, why="",
        )  # fmt: skip
    assert never is None


def test_what_cannot_start_stays_due(database):
    postpone(database, "exec_1", T0)

    def refuse(tx, one, at):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        postponed.start_due(database, "p", refuse, now=T0 + 6 * HOUR)
    with database.reading() as tx:
        [left] = postponed.waiting(tx, "p")
    assert left.started_at is None
    assert msgspec.to_builtins(left)["why"] == "no access"
