"""A bad promotion does harm, is noticed, and is rolled back by the loop itself, with the evidence in the ledger."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

import loopline as ll
from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.gates.promotion import CHAMPION
from loopline.incidents import incident
from loopline.incidents.actions import Actions, Cause, Prepared
from loopline.incidents.freeze import freeze
from loopline.ledger import chain
from loopline.loop.deployment import Predictors
from loopline.loop.due import Due
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_until
from loopline.loop.load import load_loop
from loopline.loop.plan import apply
from loopline.loop.resources import Resources
from loopline.loop.retrain import prepare_retrain
from loopline.loop.turn import LaneWork, run_turn
from loopline.models import registry
from loopline.values import Window

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def backwards(train: ll.TrainingSet, _: dict) -> Pipeline:
    return make_pipeline(SimpleImputer(), LogisticRegression()).fit(train.X, 1 - train.y)


class World:
    """The tiny loop without its drift, turned day by day."""

    def __init__(self, home: Path) -> None:
        self.loop = load_loop(Path(__file__).parent / "tiny_loop.py")
        self.clock = ReplayClock(START)
        self.resources: Resources = open_home(Settings.read(home, environment={}), clock=self.clock, silent=True)
        apply(self.resources.database, self.loop, actor="test", at=START)
        self.history = History(self.resources.tables)
        self.work = self._work()
        self.due, self.day = Due(self.history), 0

    def _work(self) -> LaneWork:
        work = lane_works(self.resources, self.loop, self.history, compare=False)[0]
        back = (ll.on(ll.harm & ll.previous_is_better, ll.roll_back),)
        return replace(work, lane=replace(work.lane, responses=back))

    def turn(self, days: int) -> None:
        for _ in range(days):
            window = Window(START + self.day * DAY, START + (self.day + 1) * DAY)
            self.day += 1
            self.clock.turn_to(window.end)
            ingest_until(self.resources, self.loop, window.end, begin=START)
            run_turn(self.work, number=self.day, window=window, due=self.due.rows(self.work.lane, window))

    def sabotage(self) -> None:
        """Promote, ungated, a model that has everything the wrong way round."""
        lane = self.work.lane
        bad = replace(lane.operation.model, fit=backwards)
        wrong = replace(lane, operation=replace(lane.operation, model=bad, promote=()))
        cause = Cause(key="sabotage", sentence="a mistake", actor="someone", at=self.clock.now())
        prepared = prepare_retrain(self.resources, wrong, self.history, Predictors(self.resources), cause)
        with self.resources.database.transaction() as tx:
            prepared.commit(tx)

    def champion(self) -> int | None:
        with self.resources.database.reading() as tx:
            return registry.alias(tx, "tiny", "returns", CHAMPION)

    def kinds(self) -> list[str]:
        with self.resources.database.reading() as tx:
            return [entry.kind for entry in chain.entries(tx, "tiny")]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("TINY_DRIFT_DAY", "999")
    made = World(tmp_path / "home")
    yield made
    made.resources.database.close()


def test_a_bad_promotion_is_rolled_back(world: World) -> None:
    world.turn(20)
    assert world.champion() == 1
    world.sabotage()
    assert world.champion() == 2
    world.turn(12)
    assert world.champion() == 1
    kinds = world.kinds()
    assert kinds.count("rollback") == 1
    assert (
        kinds.index("alarm")
        < kinds.index("incident.opened")
        < kinds.index("rollback")
        < kinds.index("incident.resolved")
    )
    with world.resources.database.reading() as tx:
        (rolled,) = chain.entries(tx, "tiny", kind="rollback")
        assert rolled.body["version"] == 1
        assert rolled.body["replaces"] == 2
        assert incident.find(tx, "tiny", only_open=True) == []
        chain.verify(tx, "tiny")


def test_frozen_it_watches_and_pages_and_does_nothing(world: World) -> None:
    world.turn(20)
    world.sabotage()
    with world.resources.database.transaction() as tx:
        freeze(tx, project="tiny", by="someone", reason="moving house", at=world.clock.now())
    world.turn(12)
    assert world.champion() == 2
    assert "rollback" not in world.kinds()
    with world.resources.database.reading() as tx:
        (waiting,) = incident.find(tx, "tiny", only_open=True)
    assert waiting.state == "waiting"


def test_a_freeze_that_comes_while_an_action_is_prepared_holds_it_back(world: World) -> None:
    world.turn(20)
    world.sabotage()
    prepare = world.work.actions.prepare

    def slowly(cause: Cause) -> Prepared:
        ready = prepare("roll_back", cause)
        with world.resources.database.transaction() as tx:
            freeze(tx, project="tiny", by="someone", reason="just now", at=world.clock.now())
        return ready

    world.work = replace(world.work, actions=Actions({"roll_back": slowly}))
    world.turn(12)
    assert world.champion() == 2
    assert "rollback" not in world.kinds()


def test_harm_without_a_change_is_not_answered_by_going_back(world: World) -> None:
    world.turn(32)
    assert world.champion() == 1
    assert "rollback" not in world.kinds()
