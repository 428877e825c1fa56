import subprocess
import sys
import textwrap

import lightgbm
import numpy as np
import polars as pl
import pytest
import skops.io
import xgboost
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, QuantileRegressor, Ridge

from loopline.errors import Corrupt, InvalidInput
from loopline.evaluation.kind import Output
from loopline.models.packaging import package
from loopline.models.predictor import load_predictor
from loopline.models.runtimes.skops import SkopsModel
from loopline.models.signature import infer
from loopline.models.signing import sign

RNG = np.random.default_rng(11)
ROWS = RNG.normal(size=(600, 3)).astype(np.float32)
GAPS = np.where(RNG.random(ROWS.shape) < 0.05, np.nan, ROWS).astype(np.float32)
VALUE = 100 * ROWS[:, 0] + 20 * ROWS[:, 1] ** 2 + RNG.normal(size=600)
THREE = np.digitize(ROWS[:, 0] + 0.3 * RNG.normal(size=600), [-0.5, 0.5]).astype(float)
TWO = (ROWS[:, 0] > 0).astype(float)
LEVELS = (0.1, 0.5, 0.9)
FRAME = pl.DataFrame({f"x{place}": GAPS[:, place] for place in range(3)})

CLASSES = Output("multiclass", ("low", "middle", "high"))
NUMBER = Output("regression")
QUANTILES = Output("quantile", levels=LEVELS)
QUIET = {"verbose": -1, "n_estimators": 15, "random_state": 0}

CASES = {
    "forest": (RandomForestRegressor(8, random_state=0), VALUE, NUMBER, "onnx"),
    "histogram": (HistGradientBoostingRegressor(max_iter=20, random_state=0), VALUE, NUMBER, "onnx"),
    "three classes": (HistGradientBoostingClassifier(max_iter=8, random_state=0), THREE, CLASSES, "onnx"),
    "extra trees": (ExtraTreesClassifier(8, random_state=0), THREE, CLASSES, "onnx"),
    "lightgbm two": (lightgbm.LGBMClassifier(**QUIET), TWO, Output(), "onnx"),
    "lightgbm three": (lightgbm.LGBMClassifier(**QUIET), THREE, CLASSES, "onnx"),
    "lightgbm value": (lightgbm.LGBMRegressor(**QUIET), VALUE, NUMBER, "onnx"),
    "xgboost two": (xgboost.XGBClassifier(n_estimators=15), TWO, Output(), "onnx"),
    "xgboost three": (xgboost.XGBClassifier(n_estimators=15), THREE, CLASSES, "onnx"),
    "xgboost value": (xgboost.XGBRegressor(n_estimators=15), VALUE, NUMBER, "onnx"),
}


def predictor(made, artifacts, key):
    envelope = sign(key, "application/vnd.loopline.model-package.v1+json", made.encoded())
    return load_predictor(artifacts, made.digest, envelope=envelope, keys=key.public)


@pytest.mark.parametrize("case", CASES)
def test_every_kind_scores_as_its_estimator(case, artifacts, key):
    estimator, label, output, form = CASES[case]
    estimator.fit(GAPS, label)
    signature = infer(FRAME, label, set(FRAME.columns), output)
    made = package(estimator, signature, GAPS, calibrator=None, artifacts=artifacts)
    assert made.format == form
    found = predictor(made, artifacts, key).predict(FRAME)
    if output.kind == "regression":
        expected = estimator.predict(GAPS)
    else:
        expected = estimator.predict_proba(GAPS)
        expected = expected if output.kind == "multiclass" else expected[:, 1]
    assert found.shape == (600, 3) if output.wide else (600,)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-5)
    again = package(estimator, signature, GAPS, calibrator=None, artifacts=artifacts)
    assert again.digest == made.digest


@pytest.mark.parametrize(
    "fit",
    [
        lambda level: HistGradientBoostingRegressor(loss="quantile", quantile=level, max_iter=20, random_state=0),
        lambda level: GradientBoostingRegressor(loss="quantile", alpha=level, n_estimators=10, random_state=0),
        lambda level: lightgbm.LGBMRegressor(objective="quantile", alpha=level, **QUIET),
        lambda level: QuantileRegressor(quantile=level, alpha=0.01),
    ],
)
def test_quantiles_come_one_model_a_level_and_never_cross(fit, artifacts, key):
    rows = np.nan_to_num(GAPS)
    models = {level: fit(level).fit(rows, VALUE) for level in LEVELS}
    frame = FRAME.fill_nan(0)
    signature = infer(frame, VALUE, set(frame.columns), QUANTILES)
    made = package(models, signature, rows, calibrator=None, artifacts=artifacts)
    found = predictor(made, artifacts, key).predict(frame)
    expected = np.sort(np.column_stack([models[level].predict(rows) for level in LEVELS]), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert (np.diff(found, axis=1) >= 0).all()


def test_rankers_are_kept_as_they_are(artifacts, key):
    grades, sizes = np.digitize(ROWS[:, 0], [-0.5, 0.5]), np.full(60, 10)
    rankers = [
        lightgbm.LGBMRanker(**QUIET).fit(GAPS, grades, group=sizes),
        xgboost.XGBRanker(n_estimators=10).fit(GAPS, grades, group=sizes),
    ]
    for ranker in rankers:
        signature = infer(FRAME, grades, set(FRAME.columns), Output("ranking"))
        made = package(ranker, signature, GAPS, calibrator=None, artifacts=artifacts)
        found = predictor(made, artifacts, key).predict(FRAME)
        np.testing.assert_allclose(found, ranker.predict(GAPS), atol=1e-6)


def test_boosters_without_a_wrapper_and_early_stopping(artifacts, key):
    pool = lightgbm.Dataset(GAPS, TWO)
    light = lightgbm.train({"objective": "binary", "verbose": -1}, pool, 10)
    stopped = xgboost.XGBRegressor(n_estimators=400, early_stopping_rounds=3, learning_rate=0.9)
    stopped.fit(GAPS, VALUE, eval_set=[(GAPS[:50], VALUE[:50][::-1])], verbose=False)
    assert stopped.best_iteration < stopped.get_booster().num_boosted_rounds() - 1
    for model, output, expected in [
        (light, Output(), light.predict(GAPS)),
        (stopped, NUMBER, stopped.predict(GAPS)),
    ]:
        signature = infer(FRAME, TWO, set(FRAME.columns), output)
        made = package(model, signature, GAPS, calibrator=None, artifacts=artifacts)
        np.testing.assert_allclose(predictor(made, artifacts, key).predict(FRAME), expected, rtol=1e-6)


def test_a_class_that_training_never_saw_has_no_probability(artifacts, key):
    model = LogisticRegression(max_iter=500).fit(ROWS, np.where(THREE == 1, 2, THREE))
    frame = pl.DataFrame({f"x{place}": ROWS[:, place] for place in range(3)})
    made = package(model, infer(frame, None, set(), CLASSES), ROWS, calibrator=None, artifacts=artifacts)
    found = predictor(made, artifacts, key).predict(frame)
    assert made.class_places == (0, 2)
    assert (found[:, 1] == 0).all()
    np.testing.assert_allclose(found[:, [0, 2]], model.predict_proba(ROWS), atol=1e-6)


def test_what_is_not_of_its_kind_is_refused(artifacts):
    signature = {kind: infer(FRAME, None, set(), of) for kind, of in [("c", CLASSES), ("n", NUMBER), ("q", QUANTILES)]}
    for model, kind, code in [
        (Ridge().fit(ROWS, VALUE), "c", "model.other_kind"),
        (LogisticRegression(max_iter=500).fit(ROWS, THREE + 1), "c", "model.other_kind"),
        ("a text", "n", "model.other_kind"),
        (Ridge().fit(ROWS, VALUE), "q", "model.no_quantiles"),
        ({0.1: Ridge().fit(ROWS, VALUE)}, "q", "model.no_quantiles"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            package(model, signature[kind], ROWS, calibrator=None, artifacts=artifacts)
        assert caught.value.code == code
    assert not list(artifacts.digests())


PROGRAM = textwrap.dedent("""
    import numpy as np
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.ensemble import HistGradientBoostingClassifier
    from loopline.models.runtimes.skops import dump
    from loopline.values import digest
    x = np.random.default_rng(0).normal(size=(200, 2))
    model = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=3, random_state=0))
    print(digest(dump(model.fit(x, x[:, 0] > 0))))
""")


def test_skops_writes_the_same_bytes_in_every_process():
    digests = {
        subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1
    assert next(iter(digests)).startswith("sha256:")


def test_skops_reads_nothing_that_could_run_code():
    foreign = skops.io.dumps(xgboost.XGBClassifier(n_estimators=2).fit(ROWS, TWO))
    with pytest.raises(InvalidInput) as caught:
        SkopsModel(foreign, Output())
    assert caught.value.code == "model.untrusted_type"
    with pytest.raises(Corrupt):
        SkopsModel(b"not a zip file", Output())
