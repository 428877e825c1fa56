"""Sources declared with readers: what is declared, what plans show, what reaches the table."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import loopline as ll
from loopline.app.home import open_home
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.ledger import chain
from loopline.loop.describe import describe
from loopline.loop.ingestion import ingest_until
from loopline.loop.resources import Resources
from loopline.tables import quarantined
from loopline.values import canonical_json

T0 = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    opened = open_home(Settings.read(tmp_path / "home", {"LOOPLINE_DURABLE": "0"}), clock=ReplayClock(T0), silent=True)
    yield opened
    opened.database.close()


def test_a_source_of_files_fills_its_table_window_by_window(resources: Resources, tmp_path: Path):
    loop = ll.Loop("shop")
    orders = loop.read(ll.files("orders-*.csv"), name="orders", key="id", event_time="at", known_at="at", every="1d")
    assert (orders.table, orders.known, loop.sources["orders"]) == ("shop.orders", "measured", orders)
    for day in range(3):
        lines = [f"{day}{n},{T0 + (day + n / 4) * DAY:%Y-%m-%dT%H:%M:%SZ},{n if day else 1.5}" for n in range(1, 5)]
        (tmp_path / f"orders-{day}.csv").write_text("id,at,price\n" + "\n".join(lines) + "\n")
        done = ingest_until(resources, loop, T0 + (day + 1) * DAY, begin=T0)
        assert done["shop.orders"].rows == 4
    rows = resources.tables.open("shop.orders").read()
    assert rows.schema["price"] == pl.Float64
    assert rows["id"].to_list() == [f"{day}{n}" for day in range(3) for n in range(1, 5)]


def test_what_changes_a_table_is_in_the_ledger(resources: Resources, tmp_path: Path):
    loop = ll.Loop("shop")
    loop.read(ll.files("o.csv"), name="orders", key="id", event_time="at", known_at="at")
    for day, line in enumerate(["1,{},1", "2,{},1.5", "3,{},many"]):
        at = f"{T0 + (day + 1) * DAY:%Y-%m-%dT%H:%M:%SZ}"
        (tmp_path / "o.csv").write_text("id,at,price\n" + line.format(at) + "\n")
        ingest_until(resources, loop, T0 + (day + 1) * DAY, begin=T0)
    with resources.database.reading() as tx:
        [entry] = chain.entries(tx, "shop")
    change = {
        "column": "price",
        "kind": "widened",
        "before": "Int64",
        "after": "Float64",
        "rule": "accept",
        "quarantined": 0,
    }
    assert (entry.kind, entry.subject, entry.body["changes"]) == ("source.evolved", "shop.orders", [change])
    assert quarantined(resources.tables, "shop.orders")["_reason"].to_list() == ["wrong_type:price"]


def test_rules_of_knowledge_are_told_as_assumed():
    loop = ll.Loop("shop")
    source = loop.read(
        ll.files("a.csv"),
        name="a",
        key="id",
        event_time="at",
        known_at=ll.delayed("at", by="2h"),
        columns={"id": pl.String, "at": pl.Datetime("us", "UTC")},
    )
    assert (source.known, source.spec.known_at) == ("assumed", "known_at")
    assert source.spec.columns is not None
    assert source.spec.columns["known_at"] == pl.Datetime("us", "UTC")
    assert describe(loop)["sources"]["a"]["known_by"] == {"delayed": "at", "by": "2h"}


def test_plans_show_what_is_read_without_secrets():
    loop = ll.Loop("shop")
    loop.read(
        ll.sql("postgresql://ann:s3cret@db/shop", "select * from orders where at > :start"),
        name="orders",
        key="id",
        event_time="at",
        known_at="at",
        freshness="2h",
        settle="5m",
    )
    said = describe(loop)["sources"]["orders"]
    assert said["reads"]["sql"]["url"] == "postgresql://ann:***@db/shop"
    assert (said["freshness"], said["settle"], said["code"][:7]) == ("2h", "5m", "sha256:")
    assert b"s3cret" not in canonical_json(said)


def test_a_source_that_says_nothing_new_is_described_as_before():
    loop = ll.Loop("shop")

    @loop.source(key="id", event_time="at", known_at="at")
    def orders(window: ll.Window) -> pl.DataFrame: ...

    assert set(describe(loop)["sources"]["orders"]) == {
        "key",
        "event_time",
        "known_at",
        "tombstone",
        "columns",
        "personal",
        "every",
        "known",
        "code",
    }


HEAD = "import loopline as ll\nloop = ll.Loop('shop')\n"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "source.bad_name",
            "loop.read(ll.files('a.csv'), name='two words', key='k', event_time='e', known_at='e')  # here",
        ),
        ("source.not_a_reader", "loop.read('a.csv', name='a', key='k', event_time='e', known_at='e')  # here"),
        ("source.no_pattern", "ll.files()  # here"),
        ("source.no_pattern", "ll.files('s3://bucket/a.csv')  # here"),
        ("source.unknown_zone", "ll.files('a.csv', zone='Mars')  # here"),
        ("source.unknown_format", "ll.files('a.csv', format='xml')  # here"),
        ("source.missing_parameter", "ll.sql('duckdb:', 'select :a')  # here"),
        ("duration.unreadable", "ll.delayed('at', by='soon')  # here"),
        (
            "duration.unreadable",
            "loop.read(ll.files('a'), name='a', key='k', event_time='e', known_at='e', freshness='soon')  # here",
        ),
    ],
)
def test_a_mistake_names_its_line(refused, code, text):
    assert refused(HEAD + text).code == code
