"""Sources declared with readers: what is declared, what plans show, what reaches the table."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import loopline as ll
from loopline.app.home import open_home
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import DeclarationError
from loopline.ledger import chain
from loopline.loop.describe import describe
from loopline.loop.ingestion import ingest_each, ingest_until, tables_behind
from loopline.loop.pushes import push_rows
from loopline.loop.resources import Resources
from loopline.tables import ingest, quarantined
from loopline.values import Window, canonical_json

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


def crosswalked(unresolved: str) -> ll.Loop:
    loop = ll.Loop("shop")

    @loop.source(key="crm_id", event_time="at", known_at="at", tombstone="gone", every="1d")
    def crm(window: ll.Window) -> pl.DataFrame:
        known = [("c1", 1, "x", False), ("c2", 5, "y", False), ("c1", 7, "z", False), ("c2", 9, None, True)]
        rows = [
            (one, T0 + hour * DAY / 24, to, gone) for one, hour, to, gone in known if T0 + hour * DAY / 24 in window
        ]
        schema = {"crm_id": pl.String, "at": pl.Datetime("us", "UTC"), "customer_id": pl.String, "gone": pl.Boolean}
        return pl.DataFrame(rows, schema=schema, orient="row")

    customers = loop.crosswalk("customer", source=crm, from_="crm_id", to="customer_id", unresolved=unresolved)  # type: ignore[arg-type]

    @loop.source(key="id", event_time="at", known_at="at", identify=[customers.of("crm_id")])
    def orders(window: ll.Window) -> pl.DataFrame:
        made = [(f"{one}-{hour}", one, T0 + hour * DAY / 24) for hour in range(1, 13) for one in ("c1", "c2")]
        rows = [one for one in made if one[2] in window]
        return pl.DataFrame(
            rows, schema={"id": pl.String, "crm_id": pl.String, "at": pl.Datetime("us", "UTC")}, orient="row"
        )

    return loop


@pytest.mark.parametrize("step", [1, 4, 12])
def test_ids_are_resolved_as_they_were_known_whatever_the_windows(resources: Resources, step: int):
    loop = crosswalked("null")
    for hour in range(0, 12, step):
        ingest_until(resources, loop, T0 + (hour + step) * DAY / 24, begin=T0)
    rows = resources.tables.open("shop.orders").read().sort("crm_id", "at")
    expected = ["x"] * 6 + ["z"] * 6 + [None] * 4 + ["y"] * 4 + [None] * 4
    assert rows["customer_id"].to_list() == expected


def test_ids_without_an_identity_go_where_declared(resources: Resources):
    loop = crosswalked("quarantine")
    done = ingest_until(resources, loop, T0 + DAY / 2, begin=T0)["shop.orders"]
    assert (done.rows, done.reasons) == (16, {"unresolved:customer_id": 8})
    said = describe(loop)["sources"]["orders"]["identify"]
    assert said[0] | {"unresolved": "quarantine"} == said[0]


def test_a_source_waits_for_its_crosswalk_and_sets_its_pace(resources: Resources):
    loop = crosswalked("keep")
    hour = DAY / 24
    first = ingest_each(resources, loop, T0 + hour, begin=T0, at_leisure=True)
    assert set(first.done) == {"shop.crm", "shop.orders"}  # once an hour, as its orders are
    held = ingest_each(resources, loop, T0 + 5 * hour, begin=T0, asked=lambda source: source.table != "shop.crm")
    assert held.done == {}
    assert set(ingest_each(resources, loop, T0 + 5 * hour, begin=T0).done) == {"shop.crm", "shop.orders"}
    assert tables_behind(loop, ["shop.orders"]) == {"shop.orders", "shop.crm"}


def test_a_window_that_was_written_and_not_noted_is_not_written_twice(resources: Resources):
    loop = crosswalked("keep")
    ingest_until(resources, loop, T0 + DAY / 4, begin=T0)
    orders = loop.sources["orders"]
    window = Window(T0 + DAY / 4, T0 + DAY / 3)
    ingest(
        resources.tables, orders.spec, orders.function(window).with_columns(customer_id=pl.lit("x")), window
    )  # and here it was killed
    ingest_until(resources, loop, T0 + DAY / 2, begin=T0)
    rows = resources.tables.open("shop.orders").read()
    assert rows.height == rows["_key"].n_unique() == 24


def test_a_crosswalk_maps_its_key(resources: Resources):
    loop = crosswalked("keep")
    with pytest.raises(DeclarationError) as caught:
        loop.crosswalk("other", source=loop.sources["orders"], from_="crm_id", to="customer_id")
    assert caught.value.code == "crosswalk.no_mapping"


def test_history_stands_in_for_what_was_pushed_before(resources: Resources, tmp_path: Path):
    (tmp_path / "old.jsonl").write_text(
        '{"id": "a", "at": "2024-01-01T05:00:00Z", "received_at": "2024-01-01T06:00:00Z"}\n'
    )
    loop = ll.Loop("shop")
    columns = {"id": pl.String, "at": pl.Datetime("us", "UTC")}
    source = loop.pushed(name="refunds", key="id", event_time="at", columns=columns, history=ll.files("old.jsonl"))
    push_rows(resources, source.spec, [{"id": "b", "at": "2024-01-01T00:00:00Z"}], key=None, actor="ann")
    assert ingest_until(resources, loop, T0 + DAY, begin=T0 - DAY)["shop.refunds"].rows == 2
    rows = resources.tables.open("shop.refunds").read().sort("id")
    assert rows.select("id", "_known_at").rows() == [("a", T0 + DAY / 4), ("b", T0)]
