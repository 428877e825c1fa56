"""Trials and fits as jobs of an executor: what comes of them is what comes of them in one process, in any order and after any death."""

import dataclasses
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from loopline.app.crew import crew_of
from loopline.app.home import open_home
from loopline.app.replays import run_replay
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import InvalidInput
from loopline.executors.crew import Crew
from loopline.loop import rounds, search
from loopline.loop.abroad import abroad
from loopline.loop.fit_job import made
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_until
from loopline.loop.lane import Lane, lanes
from loopline.loop.load import load_loop
from loopline.loop.replay import Period
from loopline.loop.resources import Resources
from loopline.loop.search import definition, run_search
from loopline.loop.training_rows import training_rows
from loopline.models import registry
from loopline.models.background import BACKGROUND
from loopline.runs import searches
from loopline.training.fit import prepared
from loopline.training.outcome import Explained
from loopline.training.training_set import LabelledRows

START = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=20)
FILE = Path(__file__).with_name("searching_loop.py")
TRIALS = 12  # the first eight are drawn at random


@pytest.fixture(scope="module")
def searching() -> Any:
    return load_loop(FILE)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, searching: Any) -> Iterator[Resources]:
    settings = Settings.read(tmp_path_factory.mktemp("home"), environment={"LOOPLINE_DURABLE": "0"})
    resources = open_home(settings, clock=ReplayClock(AS_OF), seed=5, silent=True)
    ingest_until(resources, searching, AS_OF, begin=START)
    yield resources
    resources.database.close()


def local(folder: Path) -> Settings:
    told = {"LOOPLINE_DURABLE": "0", "LOOPLINE_EXECUTOR": "local", "LOOPLINE_EXECUTOR_CORES": "2"}
    return Settings.read(folder, environment=told)


@pytest.fixture(scope="module")
def crew(home: Resources, quick_processes: None) -> Iterator[Crew]:
    made = crew_of(local(home.manifests.parent))
    assert made is not None
    with closing(made):
        yield made


def searched(home: Resources, lane: Lane, rows: LabelledRows, **changes: Any) -> list[searches.Trial]:
    found = run_search(home, lane, rows, as_of=AS_OF, trials=TRIALS, **changes)
    with home.database.reading() as tx:
        return [msgspec.structs.replace(one, seconds=0.0) for one in searches.trials(tx, found.search_id)]


def wide(home: Resources, searching: Any, at_once: int, seed: int = 5) -> tuple[Lane, LabelledRows]:
    """A lane that tries so many at once; those of another seed search for themselves."""
    [lane] = lanes(searching, seed=seed, compare=False)
    spec = msgspec.structs.replace(lane.operation.model.search, at_once=at_once)
    model = dataclasses.replace(lane.operation.model, search=spec)
    lane = dataclasses.replace(lane, operation=dataclasses.replace(lane.operation, model=model))
    return lane, training_rows(home, lane, History(home.tables), AS_OF)[0]


def forgotten(home: Resources, lane: Lane) -> None:
    """As if the search had never been."""
    with home.database.transaction() as tx:
        found = searches.latest(tx, lane.project, lane.model, definition(lane), concluded=False)
        assert found is not None
        for table in ("trial", "search"):
            tx.exec_driver_sql(f"delete from {table} where search_id = '{found.search_id}'")


def test_the_order_in_which_trials_end_and_a_death_amidst_a_round_change_nothing(home, searching, monkeypatch):
    lane, rows = wide(home, searching, 3)
    undisturbed = searched(home, lane, rows)
    assert [trial.number for trial in undisturbed] == list(range(TRIALS))
    here = rounds._here

    def backwards(asked):
        make = here(asked)
        return lambda wanted, before: reversed(list(make(wanted, before)))

    def dying(done: int, *_: object) -> None:
        if done == 4:
            raise KeyboardInterrupt

    forgotten(home, lane)
    monkeypatch.setattr(rounds, "_here", backwards)
    with pytest.raises(KeyboardInterrupt):
        searched(home, lane, rows, progress=dying)
    with home.database.reading() as tx:
        kept = searches.latest(tx, lane.project, lane.model, definition(lane), concluded=False)
        assert [one.number for one in searches.trials(tx, kept.search_id)] == [0, 1, 2, 5], "a hole is left"
    assert searched(home, lane, rows) == undisturbed


def test_how_many_at_once_is_part_of_the_search_and_one_is_as_ever(home, searching):
    one, rows = wide(home, searching, 1)
    [declared] = lanes(searching, seed=5, compare=False)
    assert definition(one) == definition(declared) != definition(wide(home, searching, 2)[0])
    made = searched(home, one, rows)
    for trial in made[1:]:  # as it was proposed before there were rounds: of all that finished before it
        asked = search.Asked(one.operation.model, one.operation.model.search, [], None, run_seed(home, one))
        wanted = rounds.propose(asked.spec.space, made[: trial.number], seed=asked.seed)
        assert wanted == {name: trial.params[name] for name in wanted}
    assert "at_once" not in one.operation.model.search.describe()
    assert [trial.params for trial in searched(home, *wide(home, searching, 4))] != [trial.params for trial in made]


def run_seed(home: Resources, lane: Lane) -> int:
    with home.database.reading() as tx:
        found = searches.latest(tx, lane.project, lane.model, definition(lane))
    assert found is not None
    return found.seed


def test_trials_on_processes_are_those_of_one_process(home, searching, crew):
    lane, rows = wide(home, searching, 4)
    with_crew = dataclasses.replace(home, crew=crew)
    alone = searched(home, lane, rows)
    forgotten(home, lane)
    assert searched(with_crew, lane, rows) == alone
    assert {trial.state for trial in alone} >= {"complete", "failed"}
    assert not [one for one in crew.transit.digests() if crew.transit.get(one).startswith(b"loopline parcel")]


def test_what_only_this_process_has_is_fitted_here(home, searching, crew):
    model = searching.models["returns"]
    assert abroad(crew, model, {"C": 1.0}) is not None
    assert abroad(None, model, {"C": 1.0}) is None
    assert abroad(crew, model, {"layers": (50, 20)}) is None, "a tuple would come out as a list"
    assert abroad(crew, dataclasses.replace(model, fit=lambda *_: None), {}) is None


def test_a_fit_on_a_process_gives_the_same_package_and_the_same_summary(home, searching, crew):
    lane, rows = wide(home, searching, 1)
    model, params = lane.operation.model, {"learning_rate": 0.1, "max_iter": 5}
    signature, whole = prepared(rows, seed=3, personal=frozenset())
    explained = Explained(whole.X[:60], "trained on")
    alone, sent = (
        made(one, model, params, signature, whole, seed=3, explained=explained)
        for one in (home, dataclasses.replace(home, crew=crew))
    )
    assert sent.package.digest == alone.package.digest
    assert home.artifacts.exists(sent.package.models[0])
    assert (sent.calibration, sent.summary) == (alone.calibration, alone.summary)
    assert np.array_equal(sent.unseen_scores, alone.unseen_scores)
    assert np.array_equal(sent.unseen_labels, alone.unseen_labels)
    with pytest.raises(InvalidInput) as caught:
        made(dataclasses.replace(home, crew=crew), model, {"loss": "x"}, signature, whole, seed=3, explained=None)
    assert (caught.value.code, bool(caught.value.remedy)) == ("training.function_failed", True)


def unsigned(lineage: dict[str, Any]) -> dict[str, Any]:
    """Without what each home signs with a key of its own."""
    return {name: value for name, value in lineage.items() if name != BACKGROUND}


@pytest.mark.heavy
def test_a_replay_that_trains_on_processes_ends_with_the_same_ledger(searching, tmp_path, quick_processes):
    period = Period(START, START + timedelta(days=14))
    [lane] = lanes(searching, seed=5, compare=False)
    spec = msgspec.structs.replace(lane.operation.model.search, at_once=2, trials=4)
    model = dataclasses.replace(lane.operation.model, search=spec)
    operation = dataclasses.replace(lane.operation, model=model)
    loop = dataclasses.replace(searching, models={"returns": model}, operations={"returns": operation})
    told = []
    for settings in (Settings.read(tmp_path / "alone", environment={}), local(tmp_path / "crew")):
        [result] = run_replay(settings, loop, period, seed=5, progress=lambda *_: None)
        resources = open_home(settings, clock=ReplayClock(period.until), silent=True)
        with resources.database.reading() as tx:
            versions = [(one.package, unsigned(one.lineage)) for one in registry.versions(tx, "shop", "returns")]
        scores = resources.tables.open("predictions.shop.returns").read().sort("_key")["score"].to_list()
        told.append((result.comparison.policies[0].ledger, scores, versions))
        resources.database.close()
    assert told[0] == told[1]
    assert len(told[0][2]) == 1
    assert (tmp_path / "crew" / "crew" / "log").exists(), "it was not done in this process"
