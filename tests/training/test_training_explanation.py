"""Summaries of fitted models: which explainer, against brute force, and the same again."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from loopline.evaluation.calibration import LogisticCalibrator
from loopline.models import package as packages
from loopline.models.background import keep_background
from loopline.models.explainer import load_explainer
from loopline.models.packaging import package
from loopline.models.predictor import load_predictor
from loopline.models.signature import Field, Signature
from loopline.models.signing import create_key, sign
from loopline.storage.artifacts import open_artifacts
from loopline.training.explanation import summarise_fit

LINE = LogisticCalibrator(0.8, -0.1)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(800, 9)).astype(np.float32)
    matrix[:, 3] = rng.integers(0, 3, 800)
    label = (1.5 * matrix[:, 0] - matrix[:, 1] + 0.8 * matrix[:, 3] + rng.normal(size=800) > 0.8).astype(np.int64)
    fields = [Field(name=f"f{place}", kind="number", given=True) for place in range(9)]
    fields[3] = Field(name="f3", kind="category", given=True, categories=("low", "middle", "high"))
    return matrix, label, Signature(fields=tuple(fields))


@pytest.fixture
def summed(data, tmp_path):
    def make(estimator):
        matrix, label, signature = data
        artifacts, key = open_artifacts(str(tmp_path), durable=False), create_key(tmp_path / "keys")
        estimator.fit(matrix, label)
        made = package(estimator, signature, matrix[:200], calibrator=LINE, artifacts=artifacts)
        envelope = sign(key, packages.PAYLOAD_TYPE, made.encoded())
        predictor = load_predictor(artifacts, made.digest, envelope=envelope, keys=key.public)
        background = keep_background(artifacts, key, package=made.digest, matrix=matrix, seed=0)
        explainer = load_explainer(artifacts, predictor, background=background, keys=key.public)
        return summarise_fit(estimator, explainer, matrix, of_rows="held out", seed=3), explainer, estimator

    return make


def by_name(found):
    return {field.name: field for field in found.fields}


def test_trees_are_summed_up_by_shap_in_the_log_odds_that_are_served(summed, data):
    found, explainer, _ = summed(HistGradientBoostingClassifier(max_iter=40, random_state=0))
    assert (found.method, found.unit, found.rows) == ("shap.TreeExplainer, exact", "log_odds", 500)
    ours = np.abs(explainer.contributions(data[0][::8])).mean(axis=0)
    theirs = [by_name(found)[name].importance for name in data[2].names]
    assert theirs == pytest.approx(ours, rel=0.25, abs=0.05)
    assert found.base == pytest.approx(explainer.base, abs=1e-3)
    assert by_name(found)["f0"].direction > 0.8
    assert by_name(found)["f1"].direction < -0.8


def test_categories_stand_by_their_names(summed):
    found, _, _ = summed(HistGradientBoostingClassifier(max_iter=40, random_state=0))
    levels = {level.name: level.mean for level in by_name(found)["f3"].levels}
    assert levels.keys() == {"low", "middle", "high"}
    assert levels["low"] < levels["middle"] < levels["high"]
    assert by_name(found)["f3"].direction is None


def test_a_line_is_summed_up_from_its_coefficients(summed, data):
    found, explainer, estimator = summed(make_pipeline(SimpleImputer(), LogisticRegression()))
    assert found.method == "shap.LinearExplainer, exact"
    weights = LINE.a * estimator[-1].coef_[0]
    centre = explainer.background.mean(axis=0)
    expected = np.abs(weights * (data[0] - centre)).mean(axis=0)
    assert [by_name(found)[name].importance for name in data[2].names] == pytest.approx(expected, rel=0.15, abs=0.02)


def test_a_forest_is_told_in_probability(summed):
    found, _, _ = summed(RandomForestClassifier(20, max_depth=6, random_state=0))
    assert (found.method, found.unit) == ("shap.TreeExplainer, exact, before calibration", "probability")
    assert 0 < found.base < 1


def test_any_other_estimator_is_asked_as_it_serves(summed):
    found, explainer, _ = summed(GaussianNB())
    assert found.method == f"{explainer.method}; of the packaged model"
    assert found.rows == 100
    assert {field.name for field in found.fields[:3]} == {"f0", "f1", "f3"}


def test_the_same_fit_has_the_same_summary(summed, data):
    first, explainer, estimator = summed(HistGradientBoostingClassifier(max_iter=10, random_state=0))
    again = summarise_fit(estimator, explainer, data[0], of_rows="held out", seed=3)
    assert first.encoded() == again.encoded()
