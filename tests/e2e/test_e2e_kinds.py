"""Numbers, several classes and rankings go all the way round, and are judged as scikit-learn judges them."""

from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from loopline.app.home import open_home
from loopline.app.replays import run_replay
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.decisions.decision import decode_decision
from loopline.loop.deployment import Predictors, declared_terms, deployment
from loopline.loop.load import load_loop
from loopline.loop.replay import Period
from loopline.models.predictor import Predictor
from loopline.scoring.engine import Engine
from loopline.scoring.record import prediction_table

FILE = Path(__file__).parent / "kinds_loop.py"
REASONS = ["none", "rain", "traffic"]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    settings = Settings.read(tmp_path_factory.mktemp("kinds"), environment={"LOOPLINE_DURABLE": "0"})
    loop = load_loop(FILE)
    period = Period(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 8, tzinfo=UTC))
    results = run_replay(settings, loop, period, seed=0, progress=lambda *_: None, report=None)
    return {result.comparison.model: result.comparison for result in results}, open_home(settings), loop


@pytest.fixture(scope="module")
def truth():
    spec = spec_from_file_location("kinds_truth", FILE)
    loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded.everything()


def predictions(home, model: str, truth: pl.DataFrame, since: datetime) -> pl.DataFrame:
    rows = home.tables.open(prediction_table("rides", model)).read(event_after=since)
    return rows.join(truth, left_on="_key", right_on="ride", how="inner").filter(pl.col("model_version") > 0)


@pytest.mark.parametrize("model", ["minutes", "reason", "offers"])
def test_every_kind_is_trained_promoted_and_better_than_knowing_nothing(replayed, model):
    comparison = replayed[0][model]
    own = comparison.policies[0]
    assert own.promotions >= 1
    assert own.predictions == own.labelled + own.unlabelled == 38 * 100
    judged = [month for month in own.months if month.month == "2024-02"]
    assert all(month.loss < 0.8 * month.constant for month in judged)
    assert own.pages == 0
    assert len(own.days) > 10


def test_losses_are_those_of_scikit_learn(replayed, truth):
    comparisons, home, _ = replayed
    for model in comparisons:
        since = comparisons[model].since
        rows = predictions(home, model, truth, since).filter(pl.col("asked_at") < datetime(2024, 2, 6, tzinfo=UTC))
        own = comparisons[model].policies[0]
        if model == "minutes":
            expected = metrics.mean_squared_error(rows["minutes"], rows["score"])
        elif model == "reason":
            given = np.stack(rows["outputs"].to_list())
            np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-5)
            expected = metrics.log_loss(rows["reason"], given / given.sum(axis=1, keepdims=True), labels=REASONS)
        else:
            grades = [group.sort("_key") for group in rows.partition_by("search")]
            expected = np.mean(
                [
                    1 - metrics.ndcg_score([2 ** g["liked"].to_numpy() - 1], [g["score"].to_numpy()])
                    for g in grades
                    if g["liked"].max() > 0
                ]
            )
        assert own.loss == pytest.approx(expected, rel=0.1)


def test_decisions_are_those_of_least_expected_cost(replayed, truth):
    comparisons, home, _ = replayed
    rows = predictions(home, "reason", truth, comparisons["reason"].since)
    costs = np.array([[0, 1, 1], [5, 0, 1], [1, 1, 0]])
    expected = np.array(REASONS)[(np.stack(rows["outputs"].to_list()) @ costs).argmin(axis=1)]
    assert rows["decision"].to_list() == expected.tolist()
    amounts = predictions(home, "minutes", truth, comparisons["minutes"].since)
    assert amounts["decision"].cast(pl.Float64).to_list() == amounts["score"].to_list()
    assert set(predictions(home, "offers", truth, comparisons["offers"].since)["decision"]) == {""}


def test_positions_order_each_search_by_score(replayed, truth):
    comparisons, home, _ = replayed
    rows = predictions(home, "offers", truth, comparisons["offers"].since)
    assert (rows["group"] == rows["search"]).all()
    for group in rows.partition_by("search"):
        ordered = group.sort("position")
        assert ordered["position"].to_list() == list(range(1, group.height + 1))
        assert ordered["score"].is_sorted(descending=True)


@pytest.mark.parametrize("model", ["minutes", "reason", "offers"])
def test_a_request_is_answered_as_the_batch_was(replayed, truth, model):
    comparisons, home, _ = replayed
    with home.database.reading() as tx:
        serving = deployment(tx, "rides", model, declared_terms(tx, "rides")[model])
    predictor = Predictors(home).load(serving.package, serving.package_envelope)
    assert isinstance(predictor, Predictor)
    batch = predictions(home, model, truth, comparisons[model].since).filter(pl.col("model_version") == serving.version)
    rows = batch.tail(8).select("_key", "asked_at", "search", "way", "rain", "taxis", "score", "decision")
    carried = {"search"} if model == "offers" else set()
    asked = [
        {"ride": row["_key"], "asked_at": row["asked_at"].isoformat()}
        | {name: row[name] for name in ("way", "rain", "taxis", *carried)}
        for row in rows.to_dicts()
    ]
    engine = Engine("rides", serving, predictor, clock=SystemClock(), instance="t")
    answers = engine.predict(asked, principal=None)
    np.testing.assert_allclose([answer.score for answer in answers], rows["score"], rtol=1e-6)
    assert [answer.decision for answer in answers] == rows["decision"].to_list() or model == "minutes"
    assert [answer.variant for answer in answers] == ["champion"] * 8
    decode_decision(serving.decision)
