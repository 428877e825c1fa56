"""A replay counts every row once, gives the same ledger again, and goes on after any death as if it had not died."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pytest
from scipy import stats

from loopline.app.home import open_home
from loopline.app.replays import run_replay
from loopline.config import Settings
from loopline.incidents import incident
from loopline.ledger import chain
from loopline.loop.load import load_loop
from loopline.loop.replay import Period
from loopline.models import registry
from loopline.tables.tables import Tables
from loopline.testing.postgres import scratch_database

LOOP = Path(__file__).parent / "tiny_loop.py"
UNTIL = "2024-02-18"
END = datetime(2024, 2, 18, tzinfo=UTC)


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
    sys.path.insert(0, str(LOOP.parent))  # tests read the loop's rows
    home = tmp_path_factory.mktemp("replay") / "home"
    return home, run(home)


def ledgers(comparison: dict) -> dict[str, str]:
    return {policy["policy"]: policy["ledger"] for policy in comparison["policies"]}


def test_every_row_is_scored_once_and_the_counts_add_up(replayed) -> None:
    home, comparison = replayed
    from tiny_loop import START, everything  # noqa: PLC0415 - the loop file is imported as the command imports it

    due = everything().filter((pl.col("ordered_at") > START) & (pl.col("announced_at") > START))
    due = due.filter(pl.col("ordered_at") <= pl.datetime(2024, 2, 18, time_zone="UTC"))
    for policy in comparison["policies"]:
        assert policy["predictions"] == due.height
        assert policy["labelled"] == due.filter(pl.col("kept")).height
        assert policy["unlabelled"] == due.filter(~pl.col("kept")).height

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


def test_the_sums_behind_a_retraining_are_in_the_ledger(replayed) -> None:
    """Each retraining that was to pay names a saving above its cost, and what it was learnt from; all can be computed again from it."""
    resources = open_home(Settings.read(replayed[0], environment={}))
    with resources.database.reading() as tx:
        bodies = [entry.body for entry in chain.entries(tx, "tiny.pays", kind="action")]
        registered = chain.entries(tx, "tiny.pays", kind="version.registered")
        brought = [one.lineage.get("brought") for one in registry.versions(tx, "tiny.pays", "returns")]
    assert brought[0] is None
    for entry, told in list(zip(registered, brought, strict=True))[1:]:
        [better] = [one["figures"]["difference"] for one in entry.body["verdicts"] if one["check"] == "better"]
        assert (told["gain"], told["error"]) == (-better["mean"], better["error"]), "the gate saw the same rows"
    weighed = [body for body in bodies if "sums" in body]
    assert weighed
    for body in weighed:
        sums = body["sums"]
        saving = sums["prices"]["loss"] * max(sums["gain"], sums["rise"]) * sums["traffic"] * 20
        assert sums["saving"] == pytest.approx(saving)
        assert saving > 5 or (sums["learnt_from"] == 0 and sums["growth"] >= 2) or "harm" in body["why"]
        assert f"{sums['growth']:.2f} times the rows" in body["why"] or "risen" in body["why"]


def test_a_policy_is_chosen_on_what_was_known_and_reported_on_the_rest(replayed) -> None:
    """By hand, from the predictions and the outcomes that were told by the day of the choice."""
    from tiny_loop import everything  # noqa: PLC0415 - as above

    home, comparison = replayed
    settings, period = Settings.read(home, environment={}), Period(datetime(2024, 1, 1, tzinfo=UTC), END)
    choosing = {"seed": 0, "progress": lambda *_: None, "choose_until": datetime(2024, 2, 5, tzinfo=UTC)}
    [found] = run_replay(settings, load_loop(LOOP), period, **choosing)
    assert found.comparison.policies[0].ledger == comparison["policies"][0]["ledger"]
    assert found.comparison.policies[0].loss == comparison["policies"][0]["loss"], (
        "asked again, it is judged by as much"
    )
    choice = msgspec.to_builtins(found.choice)
    when, since = datetime(2024, 2, 5, tzinfo=UTC), datetime.fromisoformat(comparison["since"])
    truth = everything().filter(pl.col("kept")).select(_key="order", y=pl.col("returned").cast(pl.Float64))
    rests = {}
    for one in choice["candidates"]:
        project = "tiny" if one["policy"] == "loop" else f"tiny.{one['policy']}"
        rows = Tables(home / "tables").open(f"predictions.{project}.returns").read()
        p = pl.col("score").clip(1e-4, 1 - 1e-4)
        judged = rows.join(truth, on="_key").with_columns(
            loss=-(pl.col("y") * p.log() + (1 - pl.col("y")) * (1 - p).log())
        )
        then = judged.filter((pl.col("_event_time") > since) & (pl.col("_event_time") <= when - timedelta(days=1)))
        rest = judged.filter((pl.col("_event_time") > when) & (pl.col("_event_time") <= END))
        rests[one["policy"]] = rest.select("_key", "loss", day=pl.col("_event_time").dt.truncate("1d"))
        for part, found in (("chosen_on", then), ("rest", rest)):
            assert one[part]["rows"] == found.height
            assert one[part]["loss"] == pytest.approx(found["loss"].mean(), abs=1e-6)
            total = one[part]["loss"] * found.height + 5 * one[part]["retrains"] + 20 * one[part]["pages"]
            assert one[part]["total"] == pytest.approx(total)
        policy = next(each for each in comparison["policies"] if each["policy"] == one["policy"])
        assert one["chosen_on"]["retrains"] + one["rest"]["retrains"] == policy["retrains"]
        assert one["chosen_on"]["pages"] + one["rest"]["pages"] == policy["pages"]
    totals = [one["chosen_on"]["total"] for one in choice["candidates"]]
    assert totals == sorted(totals)
    best, *others = choice["candidates"]
    assert choice["chosen"] == best["policy"]
    assert best["more"] is None
    for one in others:
        assert one["more"]["mean"] == pytest.approx(one["rest"]["total"] - best["rest"]["total"])
        both = rests[one["policy"]].join(rests[best["policy"]], on="_key", suffix="_best")
        gaps = both.with_columns(gap=pl.col("loss") - pl.col("loss_best"))
        sums = gaps.with_columns(pl.col("gap") - pl.col("gap").mean()).group_by("day").agg(pl.col("gap").sum())["gap"]
        spread = (sums.len() / (sums.len() - 1) * (sums**2).sum()) ** 0.5 * stats.t.ppf(0.975, sums.len() - 1)
        assert one["more"]["upper"] - one["more"]["mean"] == pytest.approx(spread, rel=1e-4)
        assert one["more"]["mean"] - one["more"]["lower"] == pytest.approx(spread, rel=1e-4)


def test_another_period_in_the_same_home_is_refused(replayed) -> None:
    done = subprocess.run(command(replayed[0], until="2024-02-10"), capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["code"] == "replay.other_plan"
