"""A search in the loop and outside of it: when it is due, what it finds, and that it goes on after any death."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopline.app.home import open_home
from loopline.clock import ReplayClock, SystemClock
from loopline.config import Settings
from loopline.errors import DeclarationError, NotFound
from loopline.incidents.actions import Cause
from loopline.loop.describe import describe
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_until
from loopline.loop.lane import Lane, lanes
from loopline.loop.load import load_loop
from loopline.loop.resources import Resources
from loopline.loop.search import definition, tuned
from loopline.loop.search_report import search_now
from loopline.loop.training_rows import training_rows
from loopline.models import registry
from loopline.runs import searches, store
from loopline.runs.searches import Trial

START = datetime(2026, 1, 1, tzinfo=UTC)
FILE = Path(__file__).with_name("searching_loop.py")
SMALL = Path(__file__).with_name("small_loop.py")


@pytest.fixture(scope="module")
def searching() -> Any:
    return load_loop(FILE)


def opened(folder: Path, day: int) -> Resources:
    settings = Settings.read(folder, environment={"LOOPLINE_DURABLE": "0"})
    return open_home(settings, clock=ReplayClock(START + timedelta(days=day)), seed=5, silent=True)


@pytest.fixture
def home(tmp_path: Path, searching: Any) -> Iterator[Resources]:
    resources = opened(tmp_path / "home", 23)
    ingest_until(resources, searching, START + timedelta(days=22), begin=START)
    yield resources
    resources.database.close()


@pytest.fixture
def lane(searching: Any, home: Resources) -> Lane:
    return lanes(searching, seed=home.seed, compare=False)[0]


def found_at(home: Resources, lane: Lane, day: int, *, search: bool = False) -> dict[str, Any]:
    at = START + timedelta(days=day)
    rows, _ = training_rows(home, lane, History(home.tables), at)
    made = tuned(home, lane, rows, Cause(f"day{day}", "why", "loop", at, search=search))
    assert made.found_by is not None
    return {"params": made.params, **made.found_by}


def test_the_first_training_searches_and_later_ones_use_what_was_found(home, lane):
    first = found_at(home, lane, 14)
    assert first["params"] != {"learning_rate": 0.001, "max_iter": 10, "max_leaf_nodes": 8, "loss": "log_loss"}
    assert first["params"]["loss"] == "log_loss", "the other is refused by the estimator"
    assert first["params"]["max_iter"] == 10
    assert first["params"]["learning_rate"] > 0.05
    assert "more than the standard error" in first["why"]
    assert found_at(home, lane, 18) == first
    again = found_at(home, lane, 18, search=True)
    assert again["search"] != first["search"]
    assert found_at(home, lane, 20) == again
    assert found_at(home, lane, 14) == first, "a training that is tried again finds what it found"


def test_after_search_every_it_is_searched_anew(home, lane):
    model = lane.operation.model
    spec = msgspec.structs.replace(model.search, every="5d", trials=2)
    changed = Lane(
        lane.project, lane.policy, replaced(lane.operation, model=replaced(model, search=spec)), (), lane.seed
    )
    asked = [found_at(home, changed, day)["as_of"][:10] for day in (12, 14, 16, 17, 18, 22)]
    assert asked == ["2026-01-13"] * 3 + ["2026-01-18"] * 2 + ["2026-01-23"]


def replaced(value: Any, **changes: Any) -> Any:
    return dataclasses.replace(value, **changes)


def test_what_changes_a_trial_makes_another_search(lane):
    model = lane.operation.model
    others = [
        replaced(model, params={"max_iter": 11}),
        replaced(model, holdout="3d"),
        replaced(model, fit=lambda train, params: (train, params)),
        replaced(model, search=msgspec.structs.replace(model.search, space={"x": model.search.space["learning_rate"]})),
    ]
    known = {definition(lane)}
    for other in others:
        known.add(definition(Lane(lane.project, lane.policy, replaced(lane.operation, model=other), (), lane.seed)))
    assert len(known) == 5
    longer = replaced(model, search=msgspec.structs.replace(model.search, trials=99, every="1d"))
    assert definition(Lane(lane.project, "x", replaced(lane.operation, model=longer), (), 0)) in known


def test_too_few_rows_are_no_reason_not_to_train(home, lane):
    found = found_at(home, lane, 8)
    assert found["params"] == {"learning_rate": 0.001, "max_iter": 10, "max_leaf_nodes": 8, "loss": "log_loss"}
    assert "60 rows give 0 folds" in found["skipped"]


def test_a_search_outside_of_a_turn_goes_on_where_it_was(home, searching):
    told: list[tuple[int, int]] = []
    first = search_now(home, searching, trials=5, progress=lambda done, total, _: told.append((done, total)))
    assert told == [(number, 5) for number in range(5)]
    assert (len(first.trials), first.before) == (5, 0)
    home.clock.turn_to(START + timedelta(days=23, hours=5))
    second = search_now(home, searching, trials=9)
    assert (second.before, second.search.search_id) == (5, first.search.search_id)
    assert second.trials[:5] == first.trials
    assert sum(second.importance.values()) == pytest.approx(1)
    assert [trial.state for trial in second.trials].count("failed") >= 1
    model = searching.models["returns"]
    longer = replaced(model, search=msgspec.structs.replace(model.search, trials=10, timeout="9h", every="3d"))
    operation = replaced(searching.operations["returns"], model=longer)
    third = search_now(home, replaced(searching, models={"returns": longer}, operations={"returns": operation}))
    assert (third.before, len(third.trials)) == (9, 10), "how long it goes on is declared, and may change"
    anew = search_now(home, searching, trials=1, new=True)
    assert anew.search.as_of == home.clock.now()
    assert anew.best.number == 0


def test_no_trial_begins_after_the_time_is_up_except_in_a_replay(home, searching):
    model = searching.models["returns"]
    brief = replaced(model, search=msgspec.structs.replace(model.search, trials=4, timeout="0s"))
    loop = replaced(searching, operations={"returns": replaced(searching.operations["returns"], model=brief)})
    assert len(search_now(home, loop).trials) == 4
    real = dataclasses.replace(home, clock=SystemClock())
    found = search_now(real, loop, as_of=START + timedelta(days=21))
    assert len(found.trials) == 1, "the declared parameters are always tried"
    assert len(search_now(real, loop, as_of=START + timedelta(days=21)).trials) == 1


def test_a_model_without_a_search_says_so(home):
    with pytest.raises(NotFound) as caught:
        search_now(home, load_loop(SMALL))
    assert caught.value.code == "search.which_model"


def test_a_loop_without_a_search_is_described_as_before(searching):
    assert "search" not in describe(load_loop(SMALL))["models"]["late"]
    assert describe(searching)["models"]["returns"]["search"]["trials"] == 12
    operation = describe(searching)["operations"]["returns"]
    assert [response["action"] for response in operation["respond"]] == [
        {"name": "retrain", "cooldown": "", "at_least_every": ""},
        {"name": "retrain", "cooldown": "", "at_least_every": "", "search": True},
    ]


def test_a_range_that_is_none_is_a_mistake_in_the_file(refused: Callable[[str], DeclarationError]):
    error = refused(
        "import polars as pl\n"
        "import loopline as ll\n"
        'loop = ll.Loop("l")\n'
        '@loop.source(key="k", event_time="t", known_at="t")\n'
        "def rows(window): ...\n"
        '@loop.model(on=rows, at="t", features=["x"], label=ll.label(rows, pl.col("y"), matures="1d"), search={"C": 3})  # here\n'
        "def m(train, params): ...\n"
    )
    assert error.code == "search.no_space"


def command(home: Path, *options: str) -> list[str]:
    main = "from loopline.cli.main import main; main()"
    return [sys.executable, "-c", main, *options, "--home", str(home), "--json"]


REPLAY = ("replay", str(FILE), "--from", "2026-01-01", "--until", "2026-01-17")
# The processes share their bytecode: without, each would compile all it imports again.
QUICK = {
    "LOOPLINE_DURABLE": "0",
    "TRIALS": "8",
}


def die_after(fits: int, home: Path, *options: str) -> None:
    """Run the command and kill it by kill -9 while a fit after that many runs."""
    told = home.with_name(f"{home.name}.fits")
    told.unlink(missing_ok=True)
    process = subprocess.Popen(
        command(home, *options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **QUICK, "COUNT_FITS": str(told)},
    )
    deadline = time.monotonic() + 60
    while not told.exists() or told.read_text().count("\n") < fits:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def run(home: Path, *options: str, env: dict[str, str]) -> Any:
    done = subprocess.run(
        command(home, *options), capture_output=True, text=True, check=False, timeout=240, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def trials_of(folder: Path) -> list[Any]:
    """Every search with its trials, without what was measured, and the versions trained."""
    resources = opened(folder, 30)
    with resources.database.reading() as tx:
        found = [
            [row["search_id"], row["result"], [unmeasured(one) for one in searches.trials(tx, row["search_id"])]]
            for row in store.searches(tx, "shop", "returns")
        ]
        versions = [(one.package, one.lineage.get("search")) for one in registry.versions(tx, "shop", "returns")]
    resources.database.close()
    return [found, versions]


def unmeasured(trial: Trial) -> Trial:
    return msgspec.structs.replace(trial, seconds=0.0)


def test_killed_at_any_trial_and_resumed_a_search_makes_the_same_trials(home, searching, tmp_path):
    with home.database.transaction():
        shutil.copytree(tmp_path / "home", tmp_path / "killed")
    as_of = ("search", str(FILE), "--as-of", "2026-01-22")
    whole = run(tmp_path / "home", *as_of, env=QUICK)
    for fits in (1, 4, 6) if os.environ.get("LOOPLINE_FAULTS") else (4,):
        die_after(fits, tmp_path / "killed", *as_of)
        kept = trials_of(tmp_path / "killed")[0]
    assert 1 <= len(kept[0][2]) < 8, "it was killed amidst"
    resumed = run(tmp_path / "killed", *as_of, env=QUICK)
    assert resumed["before"] == len(kept[0][2])
    assert trials_of(tmp_path / "killed") == trials_of(tmp_path / "home")
    assert (resumed["best"], resumed["importance"]) == (whole["best"], whole["importance"])
    assert [trial["number"] for trial in resumed["trials"]] == list(range(8))


def test_a_replay_killed_amidst_a_search_ends_with_the_same_ledger(tmp_path):
    whole = run(tmp_path / "whole", *REPLAY, env=QUICK)
    die_after(7, tmp_path / "killed", *REPLAY)
    [[_, result, trials]], versions = trials_of(tmp_path / "killed")
    assert (result, versions) == (None, [])
    assert trials
    resumed = run(tmp_path / "killed", *REPLAY, env=QUICK)
    ledgers = [[one["ledger"] for one in made[0]["comparison"]["policies"]] for made in (whole, resumed)]
    assert ledgers[0] == ledgers[1]
    assert trials_of(tmp_path / "killed") == trials_of(tmp_path / "whole")
    assert len(trials_of(tmp_path / "whole")[1]) >= 2
