"""The loop's own challenger: what does not pass its gates scores in the shadow, also in a replay, and its regret is told."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

import loopline as ll
from loopline.app.work import lane_works
from loopline.gates import variants
from loopline.incidents.actions import Cause
from loopline.loop.declare import Loop
from loopline.loop.describe import describe
from loopline.loop.due import Due
from loopline.loop.endpoints import endpoints
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_until
from loopline.loop.retrain import prepare_retrain
from loopline.loop.score import score_due
from loopline.loop.shadow import compare, the_shadow
from loopline.loop.turn import LaneWork
from loopline.scoring.record import prediction_table
from loopline.values import Window

DAY = timedelta(days=1)


@pytest.fixture
def work(copied, small_loop) -> LaneWork:
    """The lane with a gate that the next training, which is broken, does not pass."""
    [made] = lane_works(copied, small_loop, History(copied.tables), compare=False)
    operation = replace(made.lane.operation, promote=(ll.better("log_loss"),), challenger="shadow")
    return replace(made, lane=replace(made.lane, operation=operation))


def train(work: LaneWork, name: str) -> str:
    cause = Cause(key=name, sentence="to see", actor="loop", at=work.resources.clock.now())
    prepared = prepare_retrain(work.resources, work.lane, work.history, work.predictors, cause)
    with work.resources.database.transaction() as tx:
        return prepared.commit(tx).sentence


def beside(work: LaneWork) -> list[tuple[str, str, int, str]]:
    with work.resources.database.reading() as tx:
        found = variants.find(tx, "parcels", model="late")
    return [(one.name, one.role, one.version, one.outcome or one.state) for one in found]


def score(work: LaneWork, loop: Loop, number: int) -> None:
    begin = work.resources.clock.now()
    work.resources.clock.turn_to(begin + DAY)
    ingest_until(work.resources, loop, begin + DAY, begin=begin)
    window = Window(begin, begin + DAY)
    due = Due(work.history).rows(work.lane, window)
    score_due(work.resources, work.lane, work.predictors, due, number=number, window=window)
    score_due(work.resources, work.lane, work.predictors, due, number=number, window=window)  # as after a crash


def test_a_version_that_is_not_promoted_is_the_challenger_until_the_next(work, small_loop):
    assert "was trained and not promoted" in train(work, "first")
    [first] = beside(work)
    assert first[:2] == ("challenger", "shadow")
    score(work, small_loop, 900)
    answered = work.resources.tables.open(prediction_table("parcels", "late")).read(
        known_after=work.resources.clock.now() - DAY
    )
    shadowed = work.resources.tables.open(prediction_table("parcels", "late", shadow=True)).read()
    assert set(shadowed["variant"]) == {"challenger"}
    assert set(shadowed["model_version"]) == {first[2]}
    assert shadowed.height == answered.height > 20
    assert sorted(shadowed["prediction_id"]) == sorted(answered["prediction_id"])
    train(work, "second")
    assert [one[3] for one in beside(work)] == ["superseded", "running"]


def test_the_regret_is_the_difference_of_losses_on_the_same_labelled_rows(work, small_loop):
    train(work, "first")
    for number in range(900, 902):
        score(work, small_loop, number)
    found = the_shadow(work.resources, "parcels", "late", "production", None)
    told = compare(work.resources, found, small_loop)
    tables, now = work.resources.tables, work.resources.clock.now()
    shadowed = tables.open(prediction_table("parcels", "late", shadow=True)).read()
    answered = tables.open(prediction_table("parcels", "late")).read()
    both = shadowed.join(answered, on="prediction_id", suffix="_champion")
    assert told.rows == both.height
    assert told.agreed == pytest.approx(float((both["decision"] == both["decision_champion"]).mean()))
    assert told.mean_difference == pytest.approx(float((both["score"] - both["score_champion"]).mean()))
    assert (
        sum(one.rows for one in told.changes) == both.filter(pl.col("decision") != pl.col("decision_champion")).height
    )
    hours = tables.open("parcels.deliveries").read().select("_key", late=pl.col("hours") > 12)
    labelled = both.filter(pl.col("_event_time") <= now - DAY).join(hours, on="_key")
    assert told.regret.rows == labelled.height > 10
    y = labelled["late"].to_numpy()

    def log_loss(p: np.ndarray) -> float:
        p = np.clip(p, 1e-4, 1 - 1e-4)
        return float(-np.where(y, np.log(p), np.log1p(-p)).mean())

    assert told.regret.champion == pytest.approx(log_loss(labelled["score_champion"].to_numpy()))
    assert told.regret.shadow == pytest.approx(log_loss(labelled["score"].to_numpy()))
    assert compare(work.resources, found).regret is None


def test_without_the_declaration_nothing_is_kept_and_nothing_is_said(work, small_loop):
    silent = replace(work, lane=replace(work.lane, operation=replace(work.lane.operation, challenger=None)))
    train(silent, "first")
    assert beside(work) == []
    assert "challenger" not in describe(small_loop)["operations"]["late"]
    with_it = replace(small_loop, operations={"late": replace(small_loop.operations["late"], challenger="shadow")})
    assert describe(with_it)["operations"]["late"]["challenger"] == "shadow"


def test_endpoints_tell_what_is_served_and_how_it_answered(work, small_loop):
    train(work, "first")
    score(work, small_loop, 900)
    [found] = endpoints(work.resources, "parcels", lately="2d")
    champion, challenger = found.served
    assert (found.endpoint, found.environment) == ("late", "production")
    assert (champion.variant, champion.version, champion.share, champion.errors) == (
        "champion",
        1,
        1.0,
        champion.errors,
    )
    answered = work.resources.tables.open(prediction_table("parcels", "late")).read(
        known_after=work.resources.clock.now() - 2 * DAY
    )
    assert champion.predictions == answered.height
    assert champion.errors == pytest.approx(answered.filter(pl.col("degraded").list.len() > 0).height / answered.height)
    assert champion.rate == pytest.approx(answered.height / (2 * 24 * 60))
    assert (challenger.variant, challenger.role, challenger.predictions > 20) == ("challenger", "shadow", True)


def test_another_word_for_a_challenger_is_refused(refused):
    error = refused(
        """
import loopline as ll
loop = ll.Loop("shop")

@loop.source(key="k", event_time="t", known_at="t")
def rows(window): ...

@loop.model(on=rows, at="t", features=["x"], label=ll.label(rows, None, matures="1d"), fallback=0.5)
def m(train, params): ...

loop.operate(m, promote=[], watch=ll.Risk("log_loss", tolerance=0.1), challenger="canary")  # here
"""
    )
    assert error.code == "operate.challenger"
