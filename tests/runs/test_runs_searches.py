"""Searches and their trials: kept once each, with a run of their own."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from loopline.runs import searches, tracking
from loopline.runs.searches import Search, Trial
from loopline.storage.database import Database
from loopline.storage.migrations import upgrade

AT = datetime(2026, 1, 5, tzinfo=UTC)
SEARCH = Search(search_id="run_1", project="p", model="m", definition="d", rows="r", as_of=AT, seed=3, started_at=AT)
TRIALS = [
    Trial(0, "complete", {"x": 0.1 + 0.2, "kind": None}, (0.1, 1 / 3), None, 1.25),
    Trial(1, "pruned", {"x": 2.0, "kind": "a"}, (0.9,), "worse", 0.5),
    Trial(2, "failed", {"x": 3.0, "kind": "b"}, (), "it broke", 0.0),
]


@pytest.fixture
def database(tmp_path):
    made = Database.open(f"sqlite:///{tmp_path / 'runs.db'}", durable=False)
    upgrade(made)
    yield made
    made.close()


@pytest.fixture
def kept(database):
    with database.transaction() as tx:
        searches.begin(tx, SEARCH, params={"trials": 3})
        for trial in TRIALS:
            searches.record(tx, SEARCH, trial, at=AT)
    return database


def test_trials_come_back_as_they_were_to_the_last_bit(kept):
    with kept.reading() as tx:
        assert searches.trials(tx, "run_1") == TRIALS
        assert searches.find(tx, "run_1") == SEARCH
        assert searches.find(tx, "run_2") is None
    assert [trial.loss for trial in TRIALS] == [(0.1 + 1 / 3) / 2, None, None]
    assert math.isnan(TRIALS[2].mean)


def test_each_trial_is_a_run_under_the_searchs(kept):
    with kept.reading() as tx:
        runs = tracking.search(tx, "p", "m", parent="run_1", order_by="metrics.loss")
        parent = tracking.get(tx, "run_1")
    assert (parent.status, parent.params) == ("running", {"trials": 3})
    assert [run.status for run in runs if run.metrics.get("loss")] == ["finished"]
    assert sorted(run.status for run in runs) == ["failed", "finished", "killed"]
    first = runs[0]
    assert first.params == TRIALS[0].params
    assert [(one.step, one.value) for one in first.history if one.name == "fold_loss"] == [(0, 0.1), (1, 1 / 3)]
    assert first.metrics["loss"] == TRIALS[0].loss


def test_keeping_again_changes_nothing(kept):
    with kept.transaction() as tx:
        searches.begin(tx, SEARCH, params={"trials": 3})
        for trial in TRIALS:
            searches.record(tx, SEARCH, trial, at=AT)
        assert searches.trials(tx, "run_1") == TRIALS
        assert len(tracking.search(tx, "p", "m", parent="run_1")) == 3


def test_the_latest_is_the_concluded_one_on_the_newest_rows(kept):
    later = Search(
        **{
            **{name: getattr(SEARCH, name) for name in SEARCH.__struct_fields__},
            "search_id": "run_2",
            "as_of": AT + timedelta(days=9),
        }
    )
    with kept.transaction() as tx:
        searches.begin(tx, later, params={})
        assert searches.latest(tx, "p", "m", "d") is None
        assert searches.latest(tx, "p", "m", "d", concluded=False) == later
        searches.conclude(tx, SEARCH, {"number": 0}, at=AT)
        searches.conclude(tx, SEARCH, {"number": 1}, at=AT)
        assert searches.latest(tx, "p", "m", "d").result == {"number": 1}
        assert searches.latest(tx, "p", "m", "d", until=AT - timedelta(days=1)) is None
        assert searches.latest(tx, "p", "m", "other") is None
        assert searches.latest(tx, "p", "other", "d") is None
        assert tracking.get(tx, "run_1").status == "finished"
