"""Sources that fail, go stale and come back: the others go on, people are told, nobody is paged."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import loopline as ll
from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.features.online import OnlineFeatures
from loopline.incidents import incident, outbox
from loopline.ledger import chain
from loopline.loop.freshness import newest_known, watch_freshness
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_each, ingest_until
from loopline.loop.operating import Operating
from loopline.loop.plan import apply
from loopline.loop.probe import probe
from loopline.loop.status import status
from loopline.pipelines.schedules import signal
from loopline.storage.key_values import open_key_values
from loopline.values import Window

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Feed:
    """Gives one row an hour until it dries up, and raises while it is down."""

    def __init__(self, name: str) -> None:
        self.__name__, self.until, self.down, self.asked = name, T0 + 1000 * HOUR, False, []

    def __call__(self, window: Window) -> pl.DataFrame:
        self.asked.append(window)
        if self.down:
            raise OSError("connection refused")
        hours = [T0 + n * HOUR for n in range(1000)]
        at = [moment for moment in hours if moment in window and moment <= self.until]
        return pl.DataFrame(
            {"id": [f"{moment:%d%H}" for moment in at], "at": at},
            schema={"id": pl.String, "at": pl.Datetime("us", "UTC")},
        )


class Shop:
    def __init__(self, folder: Path) -> None:
        self.orders, self.refunds = Feed("orders"), Feed("refunds")
        self.loop = ll.Loop("shop", owner="shop team")
        for feed in (self.refunds, self.orders):
            self.loop.source(key="id", event_time="at", known_at="at", freshness="3h")(feed)
        self.clock = ReplayClock(T0)
        self.resources = open_home(
            Settings.read(folder / "home", {"LOOPLINE_DURABLE": "0"}), clock=self.clock, silent=True
        )
        apply(self.resources.database, self.loop, actor="test", at=T0)
        works = lane_works(self.resources, self.loop, History(self.resources.tables), compare=False)
        online = OnlineFeatures(open_key_values(str(folder / "online")))
        self.operating = Operating(self.resources, self.loop, works, online, folder / "spools", T0)

    def move(self, hours: float) -> bool:
        self.clock.turn_to(self.clock.now() + hours * HOUR)
        return self.operating.step()

    def incidents(self, *, only_open: bool = True) -> list[incident.Incident]:
        with self.resources.database.reading() as tx:
            return incident.find(tx, "shop", only_open=only_open)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.resources.database.close()


def test_a_source_that_fails_stops_no_other_and_is_asked_ever_later(shop: Shop) -> None:
    shop.refunds.down = True
    for _ in range(24):
        assert not shop.move(1)
    assert shop.resources.tables.open("shop.orders").read().height == 24
    assert not shop.resources.tables.exists("shop.refunds")
    before = len(shop.refunds.asked)
    for _ in range(30):
        shop.move(2 / 3600)  # every two seconds, as the scheduler does
    assert len(shop.refunds.asked) == before
    shop.refunds.down = False
    assert shop.move(1)
    assert shop.refunds.asked[-1] == Window(T0, shop.clock.now())
    assert shop.resources.tables.open("shop.refunds").read().height == 25


def test_a_source_that_failed_from_the_first_is_asked_from_there(shop: Shop) -> None:
    operating = replace(shop.operating, begin=None)  # a turn back, by default
    shop.refunds.down = True
    for hours in (1, 30, 30):
        shop.clock.turn_to(shop.clock.now() + hours * HOUR)
        assert not operating.step()
    shop.refunds.down = False
    shop.clock.turn_to(shop.clock.now() + HOUR)
    assert operating.step()
    assert shop.refunds.asked[-1].start == T0 + HOUR - 24 * HOUR


def test_a_stale_source_has_one_incident_until_it_is_fresh(shop: Shop) -> None:
    shop.orders.until = T0 + 5 * HOUR
    for _ in range(8):
        assert shop.move(1)
    assert shop.incidents() == []
    for _ in range(5):
        shop.move(1)
    [found] = shop.incidents()
    assert (found.model, found.kind, found.severity, found.opened_at) == (
        "shop.orders",
        "data_fault",
        "warning",
        T0 + 9 * HOUR,
    )
    assert (
        found.sentence == "The newest row of shop.orders is 4h old (2026-01-01 05:00 UTC); it is to be fresh within 3h."
    )
    assert [one.state for one in status(shop.resources)[0].sources] == ["stale", "ok"]
    with shop.resources.database.reading() as tx:
        assert [(one.to, one.severity) for one in outbox.waiting(tx, "shop")] == [("shop team", "warning")]
        subject = {"kind": "data_fault", "model": "shop.orders", "incident": found.id}
        assert [one.subject for one in signal.waiting(tx, "shop")] == [subject]
    shop.orders.until = T0 + 1000 * HOUR
    shop.move(1)
    assert shop.incidents() == []
    [ended] = shop.incidents(only_open=False)
    assert (ended.id, ended.state, ended.closed_at) == (found.id, "resolved", T0 + 14 * HOUR)
    with shop.resources.database.reading() as tx:
        kinds = [entry.kind for entry in chain.entries(tx, "shop")]
    assert kinds == ["loop.applied", "alarm", "incident.opened", "incident.resolved"]
    shop.orders.until = shop.clock.now()
    for _ in range(5):
        shop.move(1)
    assert len(shop.incidents(only_open=False)) == 2


def test_a_source_that_never_gave_a_row_goes_stale_too(shop: Shop) -> None:
    shop.orders.until = T0 - HOUR
    for _ in range(5):
        shop.move(1)
    assert [found.sentence for found in shop.incidents()] == [
        "shop.orders gave no row yet; it is to be fresh within 3h."
    ]


def test_the_newest_row_is_the_newest_known_by_then(shop: Shop) -> None:
    ingest_until(shop.resources, shop.loop, T0 + 6 * HOUR, begin=T0)
    assert newest_known(shop.resources.tables, "shop.orders") == T0 + 6 * HOUR
    assert newest_known(shop.resources.tables, "shop.orders", T0 + 2.5 * HOUR) == T0 + 2 * HOUR
    assert newest_known(shop.resources.tables, "shop.none") is None
    assert watch_freshness(shop.resources, shop.loop, T0 + 9 * HOUR) == []
    assert len(watch_freshness(shop.resources, shop.loop, T0 + 9.1 * HOUR)) == 2


def test_settling_asks_that_much_later(shop: Shop) -> None:
    asked: list[Window] = []

    def late(window: ll.Window) -> pl.DataFrame:
        asked.append(window)
        return pl.DataFrame()

    shop.loop.source(key="id", event_time="at", known_at="at", settle="10m")(late)
    ingest_until(shop.resources, shop.loop, T0 + HOUR, begin=T0)
    ingest_until(shop.resources, shop.loop, T0 + 2 * HOUR, begin=T0)
    minutes = timedelta(minutes=10)
    assert asked == [Window(T0 - minutes, T0 + HOUR - minutes), Window(T0 + HOUR - minutes, T0 + 2 * HOUR - minutes)]


def test_how_it_went_is_told(shop: Shop) -> None:
    shop.refunds.down = True
    intake = ingest_each(shop.resources, shop.loop, T0 + HOUR, begin=T0)
    assert (list(intake.done), list(intake.failed)) == (["shop.orders"], ["shop.refunds"])
    orders, refunds = status(shop.resources)[0].sources
    assert (refunds.state, refunds.failures, orders.state, orders.rows) == ("failing", 1, "ok", 1)
    assert "connection refused" in str(refunds.error)
    assert orders.newest == T0 + HOUR
    assert orders.seconds is not None
    assert orders.seconds > 0


def test_a_probe_tries_each_source_and_keeps_nothing(shop: Shop) -> None:
    shop.refunds.down = True

    @shop.loop.source(key="id", event_time="when", known_at="at")
    def wrong(window: ll.Window) -> pl.DataFrame:
        return pl.DataFrame({"id": ["a", "a", None], "at": [T0 + HOUR] * 3})

    @shop.loop.source(key="id", event_time="at", known_at="at")
    def doubtful(window: ll.Window) -> pl.DataFrame:
        return pl.DataFrame({"id": ["a", "a", None], "at": [T0 + HOUR] * 3})

    found = {one.source: one for one in probe(shop.loop, Window(T0, T0 + 4 * HOUR))}
    assert [(name, one.ok, one.rows, one.code) for name, one in found.items()] == [
        ("refunds", False, 0, "source.failed"),
        ("orders", True, 4, None),
        ("wrong", False, 0, "table.missing_column"),
        ("doubtful", True, 1, None),
    ]
    assert found["doubtful"].reasons == {"null_key": 1}
    assert "test_loop_freshness.py" in str(found["refunds"].remedy)
    assert shop.resources.tables.names() == []
    assert [one.source for one in probe(shop.loop, Window(T0, T0 + HOUR), only=["orders"])] == ["orders"]
