"""A replay counts every row once, gives the same ledger again, and goes on after any death as if it had not died."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from loopline.app.home import open_home
from loopline.config import Settings
from loopline.incidents import incident
from loopline.testing.postgres import scratch_database

LOOP = Path(__file__).parent / "tiny_loop.py"
UNTIL = "2024-02-18"


def command(home: Path, *options: str, until: str = UNTIL) -> list[str]:
    main = "from loopline.cli.main import main; main()"
    period = ["--from", "2024-01-01", "--until", until]
    return [sys.executable, "-c", main, "replay", str(LOOP), *period, "--home", str(home), "--json", *options]


def run(home: Path, *options: str, until: str = UNTIL, env: dict[str, str] | None = None) -> dict:
    done = subprocess.run(
        command(home, *options, until=until),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0]["comparison"]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    home = tmp_path_factory.mktemp("replay") / "home"
    return home, run(home)


def ledgers(comparison: dict) -> dict[str, str]:
    return {policy["policy"]: policy["ledger"] for policy in comparison["policies"]}


def test_every_row_is_scored_once_and_the_counts_add_up(replayed) -> None:
    home, comparison = replayed
    sys.path.insert(0, str(LOOP.parent))
    from tiny_loop import START, everything  # noqa: PLC0415 - the loop file is imported as the command imports it

    due = everything().filter((pl.col("ordered_at") > START) & (pl.col("announced_at") > START))
    due = due.filter(pl.col("ordered_at") <= pl.datetime(2024, 2, 18, time_zone="UTC"))
    for policy in comparison["policies"]:
        assert policy["predictions"] == due.height
        assert policy["labelled"] == due.filter(pl.col("kept")).height
        assert policy["unlabelled"] == due.filter(~pl.col("kept")).height
    from loopline.tables.tables import Tables  # noqa: PLC0415

    keys = Tables(home / "tables").open("predictions.tiny.returns").read()["_key"]
    assert keys.n_unique() == keys.len() == due.height


def test_harm_is_noticed_and_the_loop_recovers(replayed) -> None:
    policies = {policy["policy"]: policy for policy in replayed[1]["policies"]}
    assert policies["train_once"]["pages"] == 1, "an incident that nobody answers pages once"
    assert 1 <= policies["loop"]["pages"] <= 2
    assert policies["loop"]["promotions"] > policies["train_once"]["promotions"] == 1
    assert policies["loop"]["loss"] < policies["train_once"]["loss"] - 0.02
    alarms = [event for event in policies["loop"]["events"] if event["kind"] == "alarm"]
    assert alarms[0]["at"] >= "2024-01-31", "no alarm before the drift"
    assert policies["train_once"]["against_loop"]["loss"]["lower"] > 0


def test_the_harm_is_explained_from_the_log(replayed) -> None:
    resources = open_home(Settings.read(replayed[0]), silent=True)
    with resources.database.reading() as tx:
        first = min(incident.find(tx, "tiny"), key=lambda one: one.opened_at)
    resources.database.close()
    likeliest = first.diagnosis[0]
    assert (likeliest["kind"], likeliest["columns"]) == ("concept", ["price"]), "what the price means turned around"
    assert "what they mean for the label changed there" in likeliest["sentence"]
    assert likeliest["remedy"].startswith("Retrain")


def test_the_same_seed_gives_the_same_ledger(replayed, tmp_path) -> None:
    again = run(tmp_path / "home", env={"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "3"})
    assert ledgers(again) == ledgers(replayed[1])


def test_killed_at_random_and_resumed_it_ends_with_the_same_ledger(replayed, tmp_path) -> None:
    home, rng, kills = tmp_path / "home", random.Random(11), 0
    for _ in range(3):
        process = subprocess.Popen(command(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(2.5, 5.5))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    finished = run(home)
    assert kills
    assert ledgers(finished) == ledgers(replayed[1])
    for before, after in zip(replayed[1]["policies"], finished["policies"], strict=True):
        unmeasured = {"train_seconds", "score_seconds"}
        assert {k: v for k, v in before.items() if k not in unmeasured} == {
            k: v for k, v in after.items() if k not in unmeasured
        }


def test_on_postgresql_the_ledger_is_the_same(replayed, tmp_path, postgres_url) -> None:
    with scratch_database(postgres_url, "tiny_replay") as url:
        finished = run(tmp_path / "home", "--database", url)
    assert ledgers(finished) == ledgers(replayed[1])


def test_the_environment_cannot_lead_a_replay_to_the_real_database(tmp_path) -> None:
    real = tmp_path / "real.db"
    run(tmp_path / "home", until="2024-01-05", env={"LOOPLINE_DATABASE_URL": f"sqlite:///{real}"})
    assert not real.exists()


def test_another_period_in_the_same_home_is_refused(replayed) -> None:
    done = subprocess.run(command(replayed[0], until="2024-02-10"), capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["code"] == "replay.other_plan"
