"""Tags: what is declared about persons reaches every table that holds them."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import loopline as ll
from loopline.access.pseudonyms import Pseudonyms
from loopline.errors import Conflict, DeclarationError
from loopline.loop.declare import Loop
from loopline.loop.describe import describe
from loopline.loop.personal import Tags, keep_tags, personal_features, tags
from loopline.tables import SourceSpec, Tables, TableSchema, ingest
from loopline.tables.masked import masked_rows
from loopline.values import Window

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def shop(*, subject: str | None = "customer") -> Loop:
    loop = Loop("shop")

    @loop.source(key="order", event_time="at", known_at="at", personal=["email", "age"], subject=subject)
    def orders(window: ll.Window) -> pl.DataFrame:
        raise NotImplementedError

    @loop.source(key="order", event_time="at", known_at="at")
    def outcomes(window: ll.Window) -> pl.DataFrame:
        raise NotImplementedError

    @loop.model(
        on=orders,
        at="at",
        features=[
            "age",
            "price",
            orders.features(by="customer", spent=ll.sum("price", over="7d")),
            orders.features(by="store", ages=ll.mean("age", over="7d"), n=ll.count("price", over="7d")),
        ],
        label=ll.label(outcomes, pl.col("returned"), matures="1d"),
    )
    def returns(train: ll.TrainingSet, params: dict) -> object:
        raise NotImplementedError

    loop.operate(
        returns,
        decide=ll.costs(false_positive=1, false_negative=4),
        promote=[],
        watch=ll.Risk("log_loss", tolerance=0.01, block="1d", false_pages_per_year=1),
        compare={"never": []},
    )
    return loop


def test_predictions_labels_and_features_inherit():
    found = tags(describe(shop()))
    features = ("age", "customer_spent_7d", "store_ages_7d")
    # A feature whose kind changed has a column beside the one it had.
    hidden = {f"feature_{name}{kind}" for name in features for kind in ("", "__category", "__number")}
    predictions = Tags(frozenset({"_key", *hidden}), None, "shop.orders")
    keys = Tags(frozenset({"_key"}), None, "shop.orders")
    assert found == {
        "shop.orders": Tags(frozenset({"email", "age"}), "customer"),
        "shop.outcomes": keys,
        "predictions.shop.returns": predictions,
        "predictions.shop.never.returns": predictions,
        "shadows.shop.returns": predictions,
        "shadows.shop.never.returns": predictions,
        "labels.shop.returns": keys,
        "labels.shop.never.returns": keys,
    }
    assert personal_features(describe(shop()), "returns") == {"age", "customer_spent_7d", "store_ages_7d"}


def test_a_loop_without_a_subject_describes_itself_as_before():
    assert "subject" not in describe(shop(subject=None))["sources"]["orders"]
    assert tags(describe(shop(subject=None)))["predictions.shop.returns"].keys_of is None


def test_the_subject_is_a_column():
    with pytest.raises(DeclarationError, match="who"):
        Loop("shop").source(
            key="order", event_time="at", known_at="at", columns={"order": pl.String, "at": pl.Date}, subject="who"
        )(len)


def test_tags_are_kept_with_the_table_and_never_lost(tmp_path):
    tables = Tables(tmp_path, durable=False)
    spec = SourceSpec("shop.orders", "order", "at", "at", personal=("email",), subject="customer")
    row = {"order": "o1", "at": NOW, "email": "a@b.example", "customer": "C1", "age": 40}
    ingest(tables, spec, pl.DataFrame([row]), Window(NOW - timedelta(days=1), NOW))
    tables.create("shop.outcomes", TableSchema({"returned": pl.Boolean}))
    for _ in range(2):
        keep_tags(tables, tags(describe(shop())))
    orders, outcomes = Tables(tmp_path).open("shop.orders"), Tables(tmp_path).open("shop.outcomes")
    assert (orders.schema.personal, orders.schema.subject, orders.version) == (("age", "email"), "customer", 2)
    assert (outcomes.schema.personal, outcomes.schema.keys_of, outcomes.version) == (("_key",), "shop.orders", 1)
    assert orders.schema.guarded == ("_key", "email", "customer", "age")
    for other in (TableSchema(orders.schema.columns, orders.schema.personal), TableSchema(orders.schema.columns)):
        with pytest.raises(Conflict, match="no longer personal"):
            tables.create("shop.orders", other)


def test_a_quarantined_row_shows_what_is_not_personal(tmp_path):
    tables, pseudonyms = Tables(tmp_path, durable=False), Pseudonyms(b"k" * 32)
    spec = SourceSpec(
        "shop.orders", "order", "at", "at", personal=("email",), subject="customer", rows={"sold": pl.col("n") > 0}
    )
    row = {"order": "o1", "at": NOW, "email": "a@b.example", "customer": 4711, "n": -3}
    ingest(
        tables, spec, pl.DataFrame([row, row | {"order": "o2", "email": None}]), Window(NOW - timedelta(days=1), NOW)
    )
    kept = tables.open("shop.orders.quarantine").read()
    shown = masked_rows(tables, "shop.orders.quarantine", kept, pseudonyms)
    first, second = (eval(text.replace("null", "None")) for text in shown["row"])
    hidden = {"order": pseudonyms.of("o1"), "email": pseudonyms.of("a@b.example"), "customer": pseudonyms.of("4711")}
    assert first == {**first, **hidden, "n": -3}
    assert second["email"] is None
    assert shown["_key"].to_list() == [pseudonyms.of("o1"), pseudonyms.of("o2")]
    assert shown["_reason"].to_list() == ["sold", "sold"]
