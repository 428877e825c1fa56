"""What a plan says it would break, column by column, and that apply refuses it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import loopline as ll
from loopline.app.home import open_home
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import Conflict, DeclarationError
from loopline.ledger import chain
from loopline.loop.consumer import list_consumers
from loopline.loop.declare import Loop
from loopline.loop.plan import apply, plan
from loopline.storage.database import Database
from loopline.tables import TableSchema

T0 = datetime(2026, 1, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
ORDERS = {"id": pl.String, "at": TIME, "price": pl.Int64, "shop": pl.String, "note": pl.String}
OUTCOMES = {"id": pl.String, "at": TIME, "returned": pl.Boolean, "shop": pl.String, "days": pl.Int64}


def orders(window): ...


def outcomes(window): ...


def returns(train, params): ...


def declared(
    *,
    orders_have: dict | None = None,
    outcomes_have: dict | None = None,
    features: tuple = ("price",),
    consumers: bool = True,
    view: bool = True,
) -> Loop:
    loop = Loop("shop")
    on = loop.source(key="id", event_time="at", known_at="at", columns=orders_have or ORDERS)(orders)
    seen = loop.source(key="id", event_time="at", known_at="at", columns=outcomes_have or OUTCOMES)(outcomes)
    views = [seen.features(by="shop", took=ll.mean("days", over="3h"))] if view else []
    label = ll.label(seen, pl.col("returned"), matures="1d")
    model = loop.model(on=on, at="at", features=[*features, *views], label=label)(returns)
    loop.operate(model, decide=ll.costs(1, 4), promote=[], watch=ll.Risk("log_loss"))
    if consumers:
        loop.consumer(
            "billing", reads=model, columns={"score": "Float64", "feature_price": pl.Float64}, owner="team@example.org"
        )
        loop.consumer("notes", reads=on, columns=["note"])
    return loop


def without(columns: dict, *names: str) -> dict:
    return {name: dtype for name, dtype in columns.items() if name not in names}


def broken(database: Database, **changed: Any) -> dict[tuple[str, str], list[str]]:
    apply(database, declared(), actor="ann", at=T0)
    found = plan(database, declared(**changed)).breaks
    return {(f"{one.table}.{one.column}", one.kind): one.readers for one in found}


def test_what_changes_nothing_that_is_read_breaks_nothing(database: Database):
    assert broken(database, orders_have={**ORDERS, "more": pl.Int8}) == {}
    made = plan(database, declared(orders_have={**ORDERS, "more": pl.Int8}))
    assert [change.path for change in made.changes] == ["sources.orders.columns.more"]
    assert made.touched == []
    assert broken(database, orders_have={**ORDERS, "price": pl.Float64}) == {}  # a number stays a number


@pytest.mark.parametrize(
    ("changed", "place", "readers"),
    [
        (
            {"orders_have": without(ORDERS, "price")},
            ("shop.orders.price", "removed"),
            ["model returns", "endpoint returns"],
        ),
        ({"orders_have": without(ORDERS, "note")}, ("shop.orders.note", "removed"), ["consumer notes"]),
        (
            {"orders_have": {**ORDERS, "price": pl.String}},
            ("shop.orders.price", "retyped"),
            ["model returns", "endpoint returns"],
        ),
        (
            {"outcomes_have": without(OUTCOMES, "days")},
            ("shop.outcomes.days", "removed"),
            ["view shop_took_3h", "model returns", "endpoint returns"],
        ),
        (
            {"outcomes_have": without(OUTCOMES, "returned")},
            ("shop.outcomes.returned", "removed"),
            ["label of returns", "model returns", "endpoint returns"],
        ),
        (
            {"outcomes_have": {**OUTCOMES, "shop": pl.Int64}},
            ("shop.outcomes.shop", "retyped"),
            ["view shop_took_3h", "model returns", "endpoint returns"],
        ),
        (
            {"features": (ll.category("price"),)},
            ("predictions.shop.returns.feature_price", "retyped"),
            ["consumer billing (team@example.org)"],
        ),
        (
            {"features": ("shop",)},
            ("predictions.shop.returns.feature_price", "removed"),
            ["consumer billing (team@example.org)"],
        ),
    ],
)
def test_each_change_names_whom_it_breaks(database: Database, changed, place, readers):
    assert broken(database, **changed) == {place: readers}


def test_who_reads_it_no_more_is_not_broken(database: Database):
    assert broken(database, outcomes_have=without(OUTCOMES, "days"), view=False) == {}
    assert broken(database, orders_have=without(ORDERS, "note"), consumers=False) == {}


def test_a_column_that_never_was_is_missing(database: Database):
    [found] = plan(database, declared(features=("colour",), consumers=False)).breaks
    assert (found.kind, found.change) == ("missing", "sources.orders.columns.colour")
    assert found.sentence == "shop.orders.colour is not there: breaks model returns, endpoint returns"


def test_apply_refuses_until_it_is_accepted(database: Database):
    apply(database, declared(), actor="ann", at=T0)
    changed = declared(orders_have=without(ORDERS, "note"))
    with pytest.raises(Conflict, match="note is removed: breaks consumer notes") as caught:
        apply(database, changed, actor="ann", at=T0)
    assert caught.value.code == "plan.breaking"
    assert not plan(database, changed).empty
    assert apply(database, changed, actor="ann", at=T0, accept_breaking=True).breaks
    with database.reading() as tx:
        entries = chain.entries(tx, "shop")
    assert entries[-1].body["breaks"] == ["shop.orders.note is removed: breaks consumer notes"]


def test_consumers_of_another_loop_are_asked_too(database: Database):
    apply(database, declared(consumers=False), actor="ann", at=T0)
    other = Loop("finance")
    other.consumer("ledger", reads="shop.orders", columns={"price": "Int64"})
    apply(database, other, actor="bob", at=T0)
    [found] = plan(database, declared(orders_have={**ORDERS, "price": pl.Float64}, consumers=False)).breaks
    assert (found.before, found.after, found.readers) == ("Int64", "Float64", ["consumer ledger"])


def test_a_source_that_is_gone_breaks_its_readers(database: Database):
    loop = declared()
    apply(database, loop, actor="ann", at=T0)
    gone = Loop("shop")
    gone.consumer("notes", reads="shop.orders", columns=["note"])
    assert [one.sentence for one in plan(database, gone).breaks] == [
        "shop.orders.note is removed: breaks consumer notes"
    ]


def test_consumers_are_listed_with_how_their_tables_are(tmp_path: Path):
    resources = open_home(
        Settings.read(tmp_path / "home", {"LOOPLINE_DURABLE": "0"}), clock=ReplayClock(T0), silent=True
    )
    apply(resources.database, declared(), actor="ann", at=T0)
    assert {one.consumer: one.broken for one in list_consumers(resources)} == {"billing": None, "notes": None}
    resources.tables.create("shop.orders", TableSchema(without(ORDERS, "note")))
    resources.tables.create("predictions.shop.returns", TableSchema({"score": pl.Float64, "feature_price": pl.String}))
    found = {one.consumer: one for one in list_consumers(resources)}
    assert found["notes"].broken == ["note is not there"]
    assert found["billing"].broken == ["feature_price is String, not Float64"]
    assert (found["billing"].reads, found["billing"].owner) == ("predictions.shop.returns", "team@example.org")
    resources.database.close()


@pytest.mark.parametrize("columns", [{}, [], "score", {"score": "Flot64"}, {"score": "List"}])
def test_a_contract_that_says_nothing_is_a_mistake(columns):
    with pytest.raises(DeclarationError):
        Loop("shop").consumer("billing", reads="t", columns=columns)
