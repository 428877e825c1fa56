"""A model that something else serves: its predictions are taken in once, and watched as our own would be."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

import loopline.loop.take_in as module
from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import NotFound
from loopline.evaluation.losses import log_loss
from loopline.features.online import OnlineFeatures
from loopline.gates.promotion import CHAMPION
from loopline.incidents import incident
from loopline.labels.review import queue
from loopline.ledger import chain
from loopline.loop.declare import Loop
from loopline.loop.deployment import publish
from loopline.loop.endpoints import endpoints
from loopline.loop.history import History
from loopline.loop.load import load_loop
from loopline.loop.operating import Operating
from loopline.loop.plan import apply
from loopline.loop.pushes import push_rows
from loopline.loop.replay import Period, replay
from loopline.loop.resources import Resources
from loopline.loop.source import Pushed
from loopline.loop.status import status
from loopline.loop.take_in import take_in
from loopline.loop.turn import LaneWork
from loopline.models import registry
from loopline.monitoring.alarm import list_alarms
from loopline.monitoring.performance import read_performance
from loopline.scoring.record import prediction_table
from loopline.storage.key_values import open_key_values

TABLE = prediction_table("credit", "default")
DAY = timedelta(days=1)


class Replayed(NamedTuple):
    resources: Resources
    loop: Loop
    works: list[LaneWork]


@pytest.fixture(scope="module")
def loop() -> Loop:
    return load_loop(Path(__file__).with_name("external_loop.py"))


@pytest.fixture(scope="module")
def rows(loop: Loop) -> pl.DataFrame:
    return sys.modules["loopline_loop_external_loop"].made()


@pytest.fixture(scope="module")
def replayed(loop: Loop, rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    start = rows["asked_at"][0].replace(hour=0)
    clock = ReplayClock(start)
    settings = Settings.read(tmp_path_factory.mktemp("external") / "home", environment={"LOOPLINE_DURABLE": "0"})
    resources = open_home(settings, clock=clock, seed=7, silent=True)
    works: list[LaneWork] = []

    def make(history: History) -> list[LaneWork]:
        works.extend(lane_works(resources, loop, history, compare=True))
        return works

    replay(resources, loop, Period(start, start + 25 * DAY), make, progress=lambda *_: None)
    yield Replayed(resources, loop, works)
    resources.database.close()


def test_every_prediction_is_a_record_with_what_it_was_made_from(replayed, rows):
    found = replayed.resources.tables.open(TABLE).read()
    expected = rows.filter(pl.col("asked_at") <= found["_event_time"].max())
    assert found.height == expected.height
    joined = found.join(expected, left_on="_key", right_on="loan", how="inner")
    assert joined.height == found.height
    assert joined["score"].to_list() == joined["pd"].to_list()
    assert joined["feature_income"].to_list() == joined["income"].to_list()
    assert joined["feature_branch"].to_list() == joined["branch"].to_list()
    assert joined["_event_time"].to_list() == joined["asked_at"].to_list()
    assert joined["model_version"].to_list() == [1 if one == "2025-12" else 2 for one in joined["release"]]
    first = joined.filter(pl.col("decision_version") == 0)
    assert first.height > 0
    assert (first["decision"] == "positive").to_list() == (first["pd"] >= 0.25).to_list()
    assert "abstain" in joined.filter(pl.col("decision_version") == 1)["decision"].to_list()


def test_it_is_held_to_what_it_showed_first_and_its_harm_is_found(replayed, rows):
    with replayed.resources.database.reading() as tx:
        blocks = read_performance(tx, "credit", "default", "harm")
        alarms = list_alarms(tx, "credit")
        incidents = incident.find(tx, "credit")
        [reference] = [one for one in chain.entries(tx, "credit") if one.kind == "reference.taken"]
        changes = registry.alias_history(tx, "credit", "default", CHAMPION)
    labelled = rows.with_columns(day=pl.col("asked_at").dt.truncate("1d"))
    for block in blocks:
        own = labelled.filter((pl.col("asked_at") > block.block_start) & (pl.col("asked_at") <= block.block_end))
        expected = log_loss(own["pd"].to_numpy(), own["defaulted"].cast(pl.Float64).to_numpy()).mean()
        assert block.loss == pytest.approx(expected)
        assert block.coverage == 1.0
    start = rows["asked_at"][0].replace(hour=0)
    assert blocks[0].block_start == start + 8 * DAY
    assert reference.body["rows"] == 8 * 60
    assert [one.kind for one in alarms if one.page] != []
    harms = [one for one in alarms if one.kind == "harm"]
    assert start + 20 * DAY < harms[0].block_end <= start + 25 * DAY
    assert incidents[0].kind == "harm"
    assert [one.version for one in changes] == [1, 2]


def test_it_is_nowhere_taken_for_one_that_is_served_here(replayed):
    resources = replayed.resources
    manifest = publish(resources, "credit", at=resources.clock.now())
    assert manifest is not None
    assert manifest.deployments == []
    assert endpoints(resources, "credit") == []
    with resources.database.reading() as tx:
        version = registry.get_version(tx, "credit", "default", 1)
    with pytest.raises(NotFound) as caught:
        replayed.works[0].predictors.load(version.package, version.envelope)
    assert caught.value.code == "model.served_elsewhere"
    [project] = status(resources)
    assert [(one.model, one.champion) for one in project.models] == [("default", 2)]


class World:
    """The same loop in operation: predictions are pushed."""

    def __init__(self, folder: Path, loop: Loop, rows: pl.DataFrame) -> None:
        self.rows, self.loop = rows, loop
        start = rows["asked_at"][0].replace(hour=0)
        self.clock = ReplayClock(start)
        settings = Settings.read(folder / "home", environment={"LOOPLINE_DURABLE": "0"})
        self.resources = open_home(settings, clock=self.clock, silent=True)
        apply(self.resources.database, loop, actor="test", at=start)
        works = lane_works(self.resources, loop, History(self.resources.tables), compare=False)
        self.lane = works[0].lane
        online = OnlineFeatures(open_key_values(str(folder / "online")))
        self.operating = Operating(self.resources, loop, works, online, folder / "spools", start)

    def push(self, day: int, *, key: str | None = None, **changed: object) -> object:
        own = self.rows[day * 60 : (day + 1) * 60].drop("defaulted")
        said = [{**row, "asked_at": row["asked_at"].isoformat(), **changed} for row in own.iter_rows(named=True)]
        spec = self.loop.sources["scored"].spec
        return push_rows(self.resources, spec, said, key=key, actor="scorer")

    def predictions(self) -> pl.DataFrame:
        return self.resources.tables.open(TABLE).read()

    def move(self, by: timedelta) -> bool:
        self.clock.turn_to(self.clock.now() + by)
        self.operating.keep()
        return self.operating.step()


@pytest.fixture
def world(loop: Loop, rows: pl.DataFrame, tmp_path: Path) -> Iterator[World]:
    # What was pushed is all there is: history is for replays.
    pushed = replace(loop.sources["scored"], function=Pushed())
    made = World(tmp_path, replace(loop, sources={**loop.sources, "scored": pushed}), rows)
    made.operating.prepare()
    made.clock.turn_to(made.clock.now() + timedelta(minutes=1))
    yield made
    made.resources.database.close()


def test_pushed_predictions_are_taken_in_reviewed_and_monitored(world):
    for day in range(13):
        world.clock.turn_to(world.clock.now() + DAY - timedelta(minutes=1))
        world.push(day)
        assert world.move(timedelta(minutes=1))
    assert world.predictions().height == 13 * 60
    with world.resources.database.reading() as tx:
        assert len(read_performance(tx, "credit", "default", "harm")) >= 2
        reviews = queue.find(tx, "credit")
    asked = {one.prediction_id for one in reviews}
    abstained = world.predictions().filter(pl.col("decision") == "abstain")["prediction_id"].to_list()
    assert abstained
    assert set(abstained) <= asked


def test_an_id_counts_once_however_often_it_comes(world):
    for key in (None, None, "again", "and again"):
        world.push(0, key=key)
        world.move(timedelta(hours=2))
    world.push(0, key="another score", pd=0.5)
    world.move(timedelta(hours=2))
    found = world.predictions()
    assert found.height == found["prediction_id"].n_unique() == 60
    assert (found["score"] != 0.5).all()


def test_killed_between_any_two_steps_it_comes_to_the_same(world, monkeypatch):
    """Registered and not appended, appended and not looked at: the next run goes on."""
    world.push(0)
    world.clock.turn_to(world.clock.now() + timedelta(hours=2))
    world.operating._ingest(world.clock.now())
    for name in ("version_numbers", "append_predictions"):
        real = getattr(module, name)

        def dying(*arguments, real=real, **named):
            real(*arguments, **named)
            raise KeyboardInterrupt

        monkeypatch.setattr(module, name, dying)
        with pytest.raises(KeyboardInterrupt):
            take_in(world.resources, world.lane)
        monkeypatch.setattr(module, name, real)
    assert take_in(world.resources, world.lane).rows == 0
    assert world.predictions().height == 60
    with world.resources.database.reading() as tx:
        assert len(registry.versions(tx, "credit", "default")) == 1


def test_what_is_no_output_or_no_decision_is_told_and_not_used(world):
    world.push(0, pd=1.5)
    world.push(1, pd=None)
    world.move(timedelta(hours=2))
    found = world.predictions()
    assert found["score"].is_null().all()
    assert sorted(set(found["degraded"].list.join(",").to_list())) == ["output_missing", "output_out_of_range"]
    assert set(found["decision"].to_list()) == {"abstain"}
    assert np.isfinite(found["feature_income"].to_numpy()).all()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("respond=[ll.on(ll.harm, ll.retrain())]", "operate.external_action"),
        ('promote=[ll.better("log_loss")]', "operate.external_terms"),
    ],
)
def test_what_takes_a_model_of_ours_is_refused(refused, said, code):
    error = refused(
        f"""
import polars as pl
import loopline as ll

loop = ll.Loop("credit")
scored = loop.pushed(name="scored", key="loan", event_time="at", columns={{"loan": pl.String, "at": pl.Datetime("us", "UTC"), "pd": pl.Float64}})
label = ll.label(scored, pl.col("pd") > 1, matures="1d")
default = loop.external("default", predictions=scored, score="pd", label=label)
loop.operate(default, watch=ll.Risk("log_loss", tolerance=0.1, block="1d", false_pages_per_year=1), {said})  # here
"""
    )
    assert error.code == code
