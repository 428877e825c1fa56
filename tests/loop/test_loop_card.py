"""The model card: its facts are those of the home, it says what was not measured, and equal homes give equal bytes."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import msgspec
import numpy as np
import polars as pl
import pytest

from loopline.app.report.card import card_html, card_markdown
from loopline.errors import NotFound
from loopline.evaluation.bias import bias
from loopline.evaluation.held_out import of_blocks
from loopline.evaluation.intervals import mean_by_block
from loopline.incidents.actions import Cause
from loopline.ledger import chain
from loopline.loop.card import Card, card_of
from loopline.loop.deployment import Predictors
from loopline.loop.history import History
from loopline.loop.lane import lanes
from loopline.loop.retrain import prepare_retrain
from loopline.models.background import BACKGROUND
from loopline.scoring.record import prediction_table
from loopline.storage.artifacts import open_artifacts


@pytest.fixture(scope="module")
def card(replayed) -> Card:
    return card_of(replayed.resources, "parcels", "late", 1)


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_its_facts_are_those_of_the_home(card, replayed):
    rows = replayed.resources.tables.open(prediction_table("parcels", "late")).read()
    own = rows.filter(pl.col("model_version") == 1)
    assert card.health is not None
    assert card.health.predictions == own.height
    assert card.health.degraded == (own["degraded"].list.len() > 0).sum()
    assert card.purpose.startswith("From the second training on its code is broken")
    assert card.served[0].since == card.created_at
    with replayed.resources.database.reading() as tx:
        entries = chain.entries(tx, "parcels", subject="late:1")
    assert [change.seq for change in card.changes] == [entry.seq for entry in entries]
    assert sum(month.predictions for month in card.months) <= own.height
    assert card.months[0].loss is not None
    assert card.held_out is not None
    assert card.explanation is not None


def test_months_are_means_over_rows_with_bounds_over_blocks():
    rng = np.random.default_rng(2)
    day = np.repeat(np.arange(12), rng.integers(5, 40, 12))
    loss = rng.normal(0.5, 0.1, len(day)) + 0.02 * day
    means = [loss[day == one].mean() for one in range(12)]
    found = of_blocks(means, np.bincount(day).tolist())
    expected = mean_by_block(loss, day)
    assert (found.mean, found.lower, found.upper) == pytest.approx((expected.mean, expected.lower, expected.upper))
    assert of_blocks([], []) is None
    assert of_blocks([0.3], [5]).lower is None


def test_every_section_stands_and_what_is_missing_says_how_to_measure_it(card):
    text = card_markdown(card)
    assert "Not measured. Declare the model with bias" in section(text, "Groups of people")
    assert "No owner is named" in section(text, "What it is for")
    assert "parcels.sendings" in section(text, "Data")
    assert "| way | number | caller |" in section(text, "Features")
    assert "largest difference" in section(text, "Packaged as trained")
    assert "version.registered" in section(text, "Who changed what")
    assert card.package_digest in section(text, "Lineage")
    page = card_html(card)
    tree = ET.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    assert len(list(tree.iter("section"))) == text.count("\n## ")
    assert len(list(tree.iter("svg"))) >= 3


def test_the_same_home_gives_the_same_bytes_and_json_holds_it_all(card, replayed):
    again = card_of(replayed.resources, "parcels", "late", 1)
    assert card_markdown(again) == card_markdown(card)
    assert card_html(again) == card_html(card)
    assert msgspec.json.decode(msgspec.json.encode(card))["held_out"]["loss"] == "log_loss"


def test_a_version_that_never_served_with_groups_and_an_erased_background(copied, small_loop, tmp_path):
    lane = lanes(small_loop, seed=7, compare=False)[0]
    model = replace(lane.operation.model, bias=bias(by=["carrier"], min_rows=20), owner="ann")
    lane = replace(lane, operation=replace(lane.operation, model=model))
    cause = Cause(key="late:retrain:card", sentence="a test", actor="test", at=copied.clock.now())
    with copied.database.transaction() as tx:
        prepare_retrain(copied, lane, History(copied.tables), Predictors(copied), cause).commit(tx)
    newest = 1
    while True:
        try:
            found = card_of(copied, "parcels", "late", newest + 1)
            newest += 1
        except NotFound:
            break
    assert found.bias is not None
    text = card_markdown(found)
    assert "carrier=fast" in section(text, "Groups of people")
    kept = open_artifacts(str(tmp_path / "elsewhere"), durable=False)
    for digest in copied.artifacts.digests():
        if digest != found.lineage[BACKGROUND]:
            kept.put(copied.artifacts.get(digest))
    erased = card_of(replace(copied, artifacts=kept), "parcels", "late", newest)
    assert erased.explanation is None
    assert "Not measured. The rows to compare with are not kept" in section(
        card_markdown(erased), "Which features matter"
    )


def test_an_unknown_version_has_no_card(replayed):
    with pytest.raises(NotFound, match=r"model\.version_not_found"):
        card_of(replayed.resources, "parcels", "late", 99)
