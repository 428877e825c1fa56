"""What a trained version brings to be explained, and what is told of a logged prediction."""

import math
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from loopline.errors import InvalidInput, NotFound, Unavailable
from loopline.incidents.actions import Cause
from loopline.loop import inputs
from loopline.loop.deployment import Predictors
from loopline.loop.explain import explain_prediction, explain_version
from loopline.loop.history import History
from loopline.loop.inputs import References, suspects
from loopline.loop.lane import lanes
from loopline.loop.retrain import prepare_retrain
from loopline.models import registry
from loopline.models.background import BACKGROUND
from loopline.models.explanation import SUMMARY, decode_summary
from loopline.runs import tracking
from loopline.scoring.record import FEATURE_PREFIX, prediction_table


def predictions(resources):
    return resources.tables.open(prediction_table("parcels", "late")).read()


def test_a_logged_prediction_is_taken_apart_by_the_version_that_gave_it(replayed):
    rows = predictions(replayed.resources).filter(pl.col("model_version") > 0)
    for row in [rows.row(0, named=True), rows.row(-1, named=True)]:
        found = explain_prediction(replayed.resources, row["prediction_id"])
        told = found.explanation
        total = told.base + sum(told.contributions.values())
        assert found.version == row["model_version"]
        assert 1 / (1 + math.exp(-total)) == pytest.approx(row["score"], abs=1e-6)
        assert found.values["way"] == row[FEATURE_PREFIX + "way"]
        assert set(told.contributions) == set(found.values)


def test_what_nothing_explains_says_so(replayed):
    constant = predictions(replayed.resources).filter(pl.col("model_version") == 0)["prediction_id"][0]
    with pytest.raises(InvalidInput, match=r"explain\.no_model"):
        explain_prediction(replayed.resources, constant)
    with pytest.raises(NotFound, match=r"explain\.unknown_prediction"):
        explain_prediction(replayed.resources, "pr_nothing")
    with pytest.raises(NotFound, match=r"model\.version_not_found"):
        explain_version(replayed.resources, "parcels", "late", 99)


def test_a_replay_keeps_backgrounds_and_sums_up_on_demand(replayed):
    with replayed.resources.database.reading() as tx:
        version = registry.get_version(tx, "parcels", "late", 1)
        run = tracking.get(tx, version.run_id)
    assert BACKGROUND in version.lineage
    assert SUMMARY not in version.lineage
    assert run.artifacts[BACKGROUND] == version.lineage[BACKGROUND]
    found = explain_version(replayed.resources, "parcels", "late", 1).summary
    assert {field.name for field in found.fields[:2]} == {"way", "carrier"}
    assert found.method.endswith("of the packaged model")


def retrained(resources, loop, explain):
    """The loop's own lane, with a version trained and registered now."""
    lane = lanes(loop, seed=7, compare=False)[0]
    model = replace(lane.operation.model, explain=explain)
    lane = replace(lane, operation=replace(lane.operation, model=model))
    now = resources.clock.now()
    cause = Cause(key=f"late:retrain:{explain}", sentence="a test", actor="test", at=now)
    prepared = prepare_retrain(resources, lane, History(resources.tables), Predictors(resources), cause)
    with resources.database.transaction() as tx:
        prepared.commit(tx)
        return lane, registry.versions(tx, lane.project, lane.model)[-1]


def test_what_is_declared_is_summed_up_in_training_and_weighs_the_suspects(copied, small_loop):
    lane, version = retrained(copied, small_loop, explain=True)
    summary = decode_summary(copied.artifacts.get(version.lineage[SUMMARY]))
    assert summary.method == "shap.TreeExplainer, exact"
    assert summary.of_rows == "held out"
    assert explain_version(copied, "parcels", "late", version.version).summary == summary
    with copied.database.reading() as tx:
        assert tracking.get(tx, version.run_id).artifacts[SUMMARY] == version.lineage[SUMMARY]
        told = References(copied).importance(tx, lane)
    assert max(told.values()) == 1
    assert min(told.values()) >= inputs.LEAST_IMPORTANCE
    until = predictions(copied)["_event_time"].max()
    found = suspects(copied, lane, References(copied), since=until - timedelta(days=20), until=until)
    assert all(suspect.importance == told[suspect.column] for suspect in found)


def test_a_model_may_keep_nothing_to_explain_with(copied, small_loop):
    _, version = retrained(copied, small_loop, explain=False)
    assert not {BACKGROUND, SUMMARY} & version.lineage.keys()
    with pytest.raises(Unavailable, match=r"explain\.no_background"):
        explain_version(copied, "parcels", "late", version.version)
