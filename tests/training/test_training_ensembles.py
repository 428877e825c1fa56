"""A training function may return several models as one; what serves is what was fitted and calibrated."""

from datetime import UTC, datetime, timedelta

import lightgbm
import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import loopline as ll
from loopline.labels.label import Label
from loopline.models.package import PAYLOAD_TYPE
from loopline.models.predictor import load_predictor
from loopline.models.signing import create_key, sign
from loopline.storage.artifacts import open_artifacts
from loopline.training.fit import fit
from loopline.training.packaged import packaged
from loopline.training.training_set import LabelledRows, Recipe, TrainingSet

T0 = datetime(2026, 1, 1, tzinfo=UTC)
RECIPE = Recipe("d", "at", ("carrier", "x"), ("carrier",), (), Label("a", pl.col("y"), "1d"))


def rows(count: int = 600) -> LabelledRows:
    rng = np.random.default_rng(0)
    x, carrier = rng.normal(size=count), rng.integers(0, 5, count)
    y = rng.random(count) < 1 / (1 + np.exp(-(1.5 * x + 0.4 * carrier - 1)))
    columns = {
        "_key": [str(number) for number in range(count)],
        "_event_time": [T0 + timedelta(minutes=number) for number in range(count)],
        "carrier": carrier.astype(str),
        "x": x,
        "label": y.astype(float),
    }
    return LabelledRows(pl.DataFrame(columns), RECIPE)


def beside(train: TrainingSet, params: dict):
    trees = HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(train.X, train.y)
    leaves = lightgbm.LGBMClassifier(n_estimators=10, verbose=-1, random_state=0).fit(train.X, train.y)
    return ll.ensemble([trees, leaves, LogisticRegression().fit(train.X, train.y)], weights=[2, 1, 1])


def behind(train: TrainingSet, params: dict):
    line = LinearRegression().fit(train.X[:, :], train.y)
    second = make_pipeline(StandardScaler(), LogisticRegression()).fit(ll.chained(line, train.X), train.y)
    return ll.chain(line, second)


@pytest.mark.parametrize("function", [beside, behind])
def test_what_serves_is_what_was_fitted(function, tmp_path):
    fitted = fit(function, {}, rows(), seed=1)
    artifacts, key = open_artifacts("memory://"), create_key(tmp_path / "keys")
    made = packaged(fitted, artifacts)
    assert made == packaged(fitted, artifacts)
    predictor = load_predictor(
        artifacts, made.digest, envelope=sign(key, PAYLOAD_TYPE, made.encoded()), keys=key.public
    )
    raw = fitted.estimator.predict_proba(fitted.training_set.X)[:, 1]
    np.testing.assert_allclose(predictor.outputs(fitted.training_set.X), fitted.calibration.apply(raw), atol=1e-5)
