"""Replays where outcomes depend on what was decided: refused without a log, estimated with one, against what would have happened."""

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import InvalidInput
from loopline.loop.compare import compare
from loopline.loop.lane import lanes
from loopline.loop.load import load_loop
from loopline.loop.replay import Period, assumptions, replay, windows

LOANS = '''
from datetime import UTC, datetime, timedelta
import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
import loopline as ll

loop = ll.Loop("loans")
START, DAYS, EACH = datetime(2026, 1, 1, tzinfo=UTC), 50, 60
SURE = {sure}

def made():
    """Every application with what would have come of it, what the lender did, and how probable that was."""
    rng = np.random.default_rng(3)
    n = DAYS * EACH
    x = rng.normal(size=(n, 2))
    defaults = rng.random(n) < 1 / (1 + np.exp(-1.5 * x[:, 0] + 0.5))
    usual = np.where(x[:, 1] > 0, "positive", "negative")     # positive: declined
    other = np.where(usual == "positive", "negative", "positive")
    explored = (rng.random(n) < 0.25) & ~SURE
    action = np.where(explored, other, usual)
    propensity = np.where(SURE, 1.0, np.where(explored, 0.25, 0.75))
    at = [START + i * timedelta(days=1) / EACH + timedelta(minutes=1) for i in range(n)]
    return pl.DataFrame(dict(loan=[f"l{{i:05}}" for i in range(n)], asked=at, a=x[:, 0], b=x[:, 1], action=action,
        propensity=propensity, defaults=defaults, told=[one + timedelta(hours=30) for one in at]))

ALL = made()

def within(column, window):
    return ALL.filter(pl.col(column).is_between(window.start, window.end, closed="right"))

@loop.source(key="loan", event_time="asked", known_at="asked")
def applications(window: ll.Window) -> pl.DataFrame:
    return within("asked", window).select("loan", "asked", "a", "b")

@loop.source(key="loan", event_time="told", known_at="told")
def ends(window: ll.Window) -> pl.DataFrame:
    granted = pl.col("action") == "negative"
    seen = pl.when(granted | {both}).then(pl.col("defaults").cast(pl.Float64))
    return within("told", window).select("loan", "told", "action", "propensity", defaults=seen)

@loop.model(on=applications, at="asked", features=["a", "b"], holdout="8d", fallback=0.4,
    label=ll.label(ends, pl.col("defaults"), matures="2d", {dependence}))
def risk(train: ll.TrainingSet, params: dict) -> LogisticRegression:
    return LogisticRegression().fit(train.X, train.y, sample_weight=train.weight)

loop.operate(risk, decide=ll.costs(false_positive=1, false_negative=3), promote=[],
    watch=ll.Risk("log_loss", tolerance=0.1, block="1d", false_pages_per_year=1, min_rows=10),
    first_after="14d", compare={{"weekly": [ll.every("7d", ll.retrain)]}})
'''
LOGGED = 'logged=ll.logged(action=pl.col("action"), propensity=pl.col("propensity"), weigh_training=True)'


@pytest.fixture
def replayed(tmp_path: Path) -> Callable:
    def run(dependence: str, *, sure: bool = False, both: bool = False):
        path = tmp_path / "loans.py"
        path.write_text(LOANS.format(dependence=dependence, sure=sure, both=both))
        loop = load_loop(path)
        everything = sys.modules["loopline_loop_loans"].ALL
        start = everything["asked"][0].replace(hour=0, minute=0)
        period = Period(start, start + timedelta(days=48))
        settings = Settings.read(tmp_path / "home", environment={"LOOPLINE_DURABLE": "0"})
        resources = open_home(settings, clock=ReplayClock(start), seed=1, silent=True)
        replay(
            resources, loop, period, lambda h: lane_works(resources, loop, h, compare=True), progress=lambda *_: None
        )
        *_, (_, last, _) = windows(loop, period)
        made = compare(
            resources, lanes(loop, seed=1, compare=True), start=start, until=last.end, assumptions=assumptions(loop)
        )
        predictions = resources.tables.open("predictions.loans.risk").read()
        resources.database.close()
        return made, predictions.filter(pl.col("_event_time") > made.since), everything

    return run


def truth(predictions: pl.DataFrame, everything: pl.DataFrame) -> float:
    """What the policy would really have cost: every application's own outcome is known to who made them up."""
    both = predictions.join(everything.select(_key="loan", defaults="defaults"), on="_key")
    wrong = (
        pl.when(pl.col("decision") == "positive").then(1.0 * ~pl.col("defaults")).otherwise(3.0 * pl.col("defaults"))
    )
    return float(both.select(wrong.mean()).item())


def test_an_outcome_seen_after_one_action_prices_every_decision(replayed):
    made, predictions, everything = replayed(f'observed_after="negative", {LOGGED}')
    own = made.policies[0]
    real = truth(predictions, everything)
    found = own.off_policy.estimate
    assert own.cost == found.doubly_robust.mean
    for one in (found.ips, found.self_normalised, found.doubly_robust):
        assert one.lower - 0.02 <= real <= one.upper + 0.02
    assert found.overlap.largest_weight == pytest.approx(4)
    assert found.overlap.unsupported == 0
    assert own.off_policy.without_log == 0
    assert 0 < own.labelled < own.predictions
    told = [line for line in made.assumptions if line.startswith("loop: its cost is a doubly robust estimate")]
    assert len(told) == 1
    assert not any("do not change outcomes" in line for line in made.assumptions)
    weekly = made.policies[1]
    assert weekly.against_loop["cost"]["mean"] == pytest.approx(weekly.cost - own.cost, abs=1e-9)


def test_an_outcome_that_depends_on_the_action_prices_the_action_that_was_taken(replayed):
    made, predictions, everything = replayed(f"outcome_depends_on_action=True, {LOGGED}", both=True)
    own, real = made.policies[0], truth(predictions, everything)
    found = own.off_policy.estimate
    for one in (found.ips, found.self_normalised, found.doubly_robust):
        assert one.lower - 0.02 <= real <= one.upper + 0.02
    agreed = predictions.join(everything.select(_key="loan", did="action"), on="_key")
    assert found.overlap.observed == agreed.filter(pl.col("decision") == pl.col("did")).height
    assert own.off_policy.labelled == 1


def test_an_action_whose_outcome_is_never_told_gives_no_estimate(replayed):
    made, _, _ = replayed(f"outcome_depends_on_action=True, {LOGGED}")
    assert np.isnan(made.policies[0].cost)
    assert "never tries" in made.policies[0].off_policy.estimate.refused


def test_a_lender_who_never_tries_gives_no_estimate(replayed):
    made, _, _ = replayed(f'observed_after="negative", {LOGGED}', sure=True)
    own = made.policies[0]
    assert np.isnan(own.cost)
    assert "never tries" in own.off_policy.estimate.refused
    assert any("no cost is estimated" in line for line in made.assumptions)


def test_without_a_log_the_replay_is_refused_before_it_begins(replayed):
    with pytest.raises(InvalidInput) as caught:
        replayed("outcome_depends_on_action=True")
    assert caught.value.code == "replay.actions_not_logged"
    assert "ll.explore" in caught.value.remedy


def test_an_action_that_the_model_does_not_have_is_refused_where_it_is_declared(replayed):
    with pytest.raises(InvalidInput, match="accept"):
        replayed(f'observed_after="accept", {LOGGED}')
