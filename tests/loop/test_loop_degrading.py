"""What a loop file says of odd values and of failing is what its manifest carries, also when the file is gone."""

from datetime import UTC, datetime

import polars as pl
import pytest

import loopline as ll
from loopline.errors import DeclarationError
from loopline.loop.deployment import declared_terms, deployment, terms_of
from loopline.loop.describe import describe
from loopline.loop.plan import apply
from loopline.storage.database import Database

T0 = datetime(2026, 1, 1, tzinfo=UTC)
RULE = ll.rule([("distance > 2000", 0.4), ("origin_visib is None", 0.2)], otherwise=0.1)
WATCH = ll.Risk("log_loss", tolerance=0.01, block="1d", false_pages_per_year=1)
CONTRACT = ll.contract(unseen_category="refuse", fields={"carrier": {"unseen_category": "impute"}})
LADDER = ll.ladder(["rule"], on_log_failure="serve", store_breaker=ll.breaker(failures=2, slow_ms=20.0))


def departures(window): ...


def weather(window): ...


def late(train, params): ...


def declared(fallback=RULE, **operated):
    loop = ll.Loop("flights")
    flown = loop.source(key="flight", event_time="left", known_at="left")(departures)
    sky = loop.source(key="station", event_time="seen", known_at="seen")(weather)
    features = ["distance", ll.category("carrier"), sky.latest("visib", by="origin")]
    label = ll.label(flown, pl.col("delay") > 15, matures="2d")
    model = loop.model(on=flown, at="left", features=features, label=label, fallback=fallback)(late)
    loop.operate(model, promote=[], watch=WATCH, **operated)
    return loop


def test_the_manifest_carries_what_was_declared(database: Database):
    loop = declared(contract=CONTRACT, ladder=LADDER)
    apply(database, loop, actor="ann", at=T0)
    with database.reading() as tx:
        terms = declared_terms(tx, "flights")["late"]
        served = deployment(tx, "flights", "late", terms)
    assert terms == terms_of(loop.operations["late"])
    assert (served.contract, served.ladder, served.rule, served.fallback) == (CONTRACT, LADDER, RULE, 0.1)
    assert apply(database, declared(contract=CONTRACT, ladder=LADDER), actor="ann", at=T0).empty


def test_what_is_not_declared_is_not_described():
    said = describe(declared(fallback=0.1))
    assert "rule" not in said["models"]["late"]
    assert not {"contract", "ladder"} & said["operations"]["late"].keys()
    assert said == describe(declared(fallback=0.1, contract=ll.contract(), ladder=ll.ladder()))


def test_a_rule_has_the_shape_of_the_models_output():
    assert declared().models["late"].rule == RULE
    for wrong in (
        ll.rule([("distance > 1", 1.5)], otherwise=0.1),
        ll.rule([("distance > 1", [0.1, 0.9])], otherwise=0.1),
    ):
        with pytest.raises(DeclarationError) as caught:
            declared(fallback=wrong)
        assert caught.value.code == "model.bad_fallback"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"fallback": ll.rule([("altitude > 1", 0.2)], otherwise=0.1)}, "model.rule_column"),
        ({"contract": ll.contract(fields={"altitude": {"out_of_range": "flag"}})}, "operate.contract_field"),
    ],
)
def test_what_names_no_feature_is_a_mistake(changes, code):
    with pytest.raises(DeclarationError) as caught:
        declared(**changes)
    assert caught.value.code == code
    assert caught.value.context["file"] == __file__
