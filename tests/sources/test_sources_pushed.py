"""Rows that are pushed: once, for good, and in exactly one window, on both databases."""

import threading
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from loopline.errors import Conflict, InvalidInput
from loopline.sources.pushed import REMEMBERED, any_pushed, collect, forget, judge, pushed_frame, receive, refuse_unfit
from loopline.storage.database import Database
from loopline.tables import SourceSpec, Tables, ingest
from loopline.tables.evolution import evolve
from loopline.values import Window

T0 = datetime(2024, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
TIME = pl.Datetime("us", "UTC")
COLUMNS = {"id": pl.String, "at": TIME, "amount": pl.Float64, "tags": pl.List(pl.String), "received_at": TIME}
SPEC = SourceSpec(
    "shop.refunds", "id", "at", "received_at", columns=COLUMNS, evolve=evolve(added="quarantine", removed="accept")
)


def row(name: str, **more: object) -> dict[str, object]:
    return {"id": name, "at": "2023-12-31T10:00:00+01:00", "amount": 5, **more}


def push(database: Database, rows: list, *, key: str | None = None, at: datetime = T0, kept: int | None = None):
    with database.transaction() as tx:
        return receive(
            tx, SPEC, rows, kept=len(rows) if kept is None else kept, reasons={}, key=key, actor="ann", at=at
        )


def collected(database: Database, window: Window) -> pl.DataFrame:
    with database.transaction() as tx:
        return collect(tx, SPEC, window)


def test_what_was_pushed_is_given_once_in_its_window(database: Database):
    first = push(database, [row("a"), row("b")], at=T0 + HOUR)
    assert (first.rows, first.quarantined, first.received_at, first.repeated) == (2, 0, T0 + HOUR, False)
    assert push(database, [row("c")], at=T0 + HOUR).received_at == T0 + HOUR + MICRO
    assert collected(database, Window(T0, T0 + HOUR))["id"].to_list() == ["a", "b"]
    later = collected(database, Window(T0 + HOUR, T0 + 2 * HOUR))
    assert later.select("id", "received_at").rows() == [("c", T0 + HOUR + MICRO)]
    assert collected(database, Window(T0 + 2 * HOUR, T0 + 3 * HOUR)).is_empty()


def test_a_push_that_is_late_for_a_closed_window_comes_into_the_next(database: Database):
    collected(database, Window(T0, T0 + HOUR))
    assert push(database, [row("a")], at=T0 + HOUR / 2).received_at == T0 + HOUR + MICRO
    assert collected(database, Window(T0 + HOUR, T0 + 2 * HOUR)).height == 1


def test_pushes_and_windows_at_once_lose_and_double_nothing(database: Database):
    """Threads push while windows are closed: each row is in exactly one window."""
    gates, found = threading.Barrier(4), []

    def pushing(number: int) -> None:
        gates.wait()
        for n in range(8):
            push(database, [row(f"{number}-{n}")], at=T0 + n * MICRO)

    threads = [threading.Thread(target=pushing, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    gates.wait()
    for n in range(10):
        found += collected(database, Window(T0 - HOUR + n * 5 * MICRO, T0 - HOUR + (n + 1) * 5 * MICRO)).to_dicts()
    edge = T0 - HOUR + 50 * MICRO
    for thread in threads:
        thread.join()
    found += collected(database, Window(edge, T0 + 24 * HOUR)).to_dicts()
    assert sorted(one["id"] for one in found) == sorted(f"{number}-{n}" for number in range(3) for n in range(8))


def test_a_repeated_push_changes_nothing(database: Database):
    first = push(database, [row("a")])
    again = push(database, [row("a")], at=T0 + HOUR)
    assert (again.received_at, again.repeated) == (first.received_at, True)
    named = push(database, [row("a")], key="k1", at=T0 + HOUR)
    assert not named.repeated
    assert push(database, [row("a")], key="k1", at=T0 + 2 * HOUR).received_at == named.received_at
    with pytest.raises(Conflict) as caught:
        push(database, [row("b")], key="k1")
    assert caught.value.code == "push.key_reused"
    assert collected(database, Window(T0 - HOUR, T0 + 9 * HOUR)).height == 2


def test_what_is_ingested_is_forgotten_and_still_known_as_repeated(database: Database):
    push(database, [row("a")])
    window = Window(T0 - HOUR, T0 + HOUR)
    with database.transaction() as tx:
        assert any_pushed(tx, SPEC.name, window)
        forget(tx, SPEC.name, window.end)
        assert not any_pushed(tx, SPEC.name, window)
    assert collected(database, window).is_empty()
    assert push(database, [row("a")], at=T0 + HOUR).repeated
    with database.transaction() as tx:
        forget(tx, SPEC.name, T0 + REMEMBERED + HOUR)
    assert not push(database, [row("a")], at=T0 + REMEMBERED + HOUR).repeated


def test_bad_rows_are_judged_one_by_one(tmp_path):
    tables = Tables(tmp_path / "tables", durable=False)
    rows = [
        row("good", tags=["x"]),
        row("also", amount="7.5", extra=None),
        row("extra", extra=1),
        row("amount", amount="many"),
        {"at": "2024-01-01T00:00:00Z"},
        row("naive", at="2024-01-01T00:00:00"),
        row("epoch", at=1704067200),
        {"id": 9, "at": "2024-01-01T00:00:00Z"},
        row("huge", amount=10**400),
    ]
    kept, reasons = judge(tables, SPEC, rows, T0)
    assert reasons == {
        "added_column:extra": 1,
        "not_finite": 1,
        "wrong_type:amount": 1,
        "wrong_type:at": 2,
        "null_key": 1,
    }
    assert kept == 3
    assert tables.names() == []
    frame = pushed_frame(SPEC, rows, [T0] * len(rows))
    done = ingest(tables, SPEC, frame, Window(T0 - HOUR, T0))
    assert (done.rows, done.reasons) == (kept, reasons)
    held = tables.open("shop.refunds").read()
    assert held.select("id", "amount", "tags").rows() == [("good", 5.0, ["x"]), ("also", 7.5, None), ("9", None, None)]
    assert held["at"][0] == datetime(2023, 12, 31, 9, tzinfo=UTC)


def test_rows_do_not_say_when_they_are_received():
    with pytest.raises(InvalidInput) as caught:
        refuse_unfit(SPEC, [row("a", received_at="2024-01-01T00:00:00Z")])
    assert caught.value.code == "push.known_at_given"
