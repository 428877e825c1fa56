"""Native runtimes: what does not compile serves as its library does, one row as many, and says why it was not compiled."""

import threading
from types import SimpleNamespace

import lightgbm
import numpy as np
import polars as pl
import pytest
import skops.io
import xgboost
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.models.boosters.booster import tree_sum_of
from loopline.models.packaging import Unproven, package, package_file
from loopline.models.runtimes import lightgbm as native_lightgbm
from loopline.models.runtimes.lightgbm import LightGbmModel
from loopline.models.runtimes.opening import open_model
from loopline.models.runtimes.xgboost import XGBoostModel
from loopline.models.signature import Field, Signature, infer

RNG = np.random.default_rng(3)
X = RNG.normal(size=(500, 4)).astype(np.float32)
X[RNG.random(X.shape) < 0.05] = np.nan
X[:, 3] = RNG.integers(0, 9, 500)
TWO = (np.nan_to_num(X[:, 0]) + np.isin(X[:, 3], [1, 4, 8]) > 0.5).astype(int)
THREE = np.digitize(np.nan_to_num(X[:, 1]), [-0.5, 0.5])
VALUE = np.nan_to_num(10 * X[:, 0]) + 3
CLASSES = Output("multiclass", ("a", "b", "c"))
QUIET = {"verbose": -1, "n_estimators": 12, "random_state": 0}
BY_SETS = {**QUIET, "min_data_per_group": 1, "cat_smooth": 1}


def fit(estimator, rows, label):
    """`BY_SETS` is fitted with its last column as a native category, the rest as they come."""
    by_sets = getattr(estimator, "min_data_per_group", None)
    return estimator.fit(rows, label, **({"categorical_feature": [3]} if by_sets else {}))


def light(estimator, output):
    return LightGbmModel(estimator.booster_.model_to_string().encode(), output)


def gradient(estimator, output):
    return XGBoostModel(bytes(estimator.get_booster().save_raw("ubj")), output)


NATIVE = [
    (light, lightgbm.LGBMClassifier(**BY_SETS), TWO, Output()),
    (light, lightgbm.LGBMClassifier(**QUIET), THREE, CLASSES),
    (light, lightgbm.LGBMRegressor(**QUIET), VALUE, Output("regression")),
    (gradient, xgboost.XGBClassifier(n_estimators=12), TWO, Output()),
    (gradient, xgboost.XGBClassifier(n_estimators=12), THREE, CLASSES),
    (gradient, xgboost.XGBRegressor(n_estimators=12), VALUE, Output("regression")),
]


@pytest.mark.parametrize(("opened", "estimator", "label", "output"), NATIVE)
def test_one_row_scores_the_very_numbers_of_many(opened, estimator, label, output):
    model = opened(fit(estimator, X, label), output)
    assert getattr(model, "_one", None) or getattr(model, "_dense", None)
    together = model.outputs(X)
    alone = np.concatenate([model.outputs(X[place : place + 1]) for place in range(0, 500, 7)])
    np.testing.assert_array_equal(alone, together[::7])
    expected = estimator.predict(X) if output.kind == "regression" else estimator.predict_proba(X)
    np.testing.assert_array_equal(together, expected[:, 1] if output.kind == "binary" else expected)


def test_threads_do_not_mix_their_rows():
    model = light(lightgbm.LGBMClassifier(**QUIET).fit(X, TWO), Output())
    expected, wrong = model.outputs(X), []

    def ask(first: int) -> None:
        places = range(first, 500, 4)
        wrong.extend(place for place in places if model.outputs(X[place : place + 1])[0] != expected[place])

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_library_without_the_short_way_is_used_the_long_way():
    booster = lightgbm.LGBMClassifier(**QUIET).fit(X, TWO).booster_
    bare = SimpleNamespace(basic=SimpleNamespace(_LIB=object(), LightGBMError=lightgbm.basic.LightGBMError))
    assert native_lightgbm._proven(booster, bare, 4) is None


def numbers(output: Output) -> Signature:
    return Signature(fields=tuple(Field(name=name, kind="number", given=True) for name in "abcd"), output=output)


@pytest.mark.parametrize(
    ("estimator", "label", "output", "form", "reason"),
    [
        (lightgbm.LGBMClassifier(**BY_SETS), TWO, Output(), "lightgbm", "sets of categories"),
        (lightgbm.LGBMRegressor(linear_tree=True, **QUIET), VALUE, Output("regression"), "lightgbm", "linear leaves"),
        (lightgbm.LGBMRegressor(reg_sqrt=True, **QUIET), VALUE, Output("regression"), "lightgbm", "objective"),
        (xgboost.XGBRegressor(n_estimators=3, booster="gblinear"), VALUE, Output("regression"), "xgboost", "gblinear"),
        (
            xgboost.XGBRegressor(n_estimators=3, objective="reg:pseudohubererror"),
            VALUE,
            Output("regression"),
            "onnx",
            "",
        ),
        (
            HistGradientBoostingRegressor(max_iter=3, categorical_features=[3]),
            VALUE,
            Output("regression"),
            "skops",
            "native categories",
        ),
    ],
)
def test_what_does_not_compile_says_why(artifacts, estimator, label, output, form, reason):
    rows = np.nan_to_num(X)
    made = package(fit(estimator, rows, label), numbers(output), rows, calibrator=None, artifacts=artifacts)
    assert made.format == form
    assert reason in made.refused.get("onnx", "")
    assert bool(made.refused) is bool(reason)
    model = open_model(made.format, artifacts.get(made.models[0]), output)
    expected = estimator.predict_proba(rows)[:, 1] if output.kind == "binary" else estimator.predict(rows)
    np.testing.assert_allclose(model.outputs(rows), expected, rtol=1e-5, atol=1e-5)


def test_numbers_that_lightgbm_takes_for_zero_go_where_it_sends_zero(artifacts):
    tiny = np.float32(1e-35)
    steps = np.array([0, tiny, np.nextafter(tiny, 1), np.nextafter(tiny, -1), 1e-40, -1e-40, -tiny, -2e-35, 1, -1])
    rows = RNG.choice(steps, size=(2000, 4)).astype(np.float32)
    label = ((rows[:, 0] > 0) ^ (rows[:, 1] < 0)).astype(int)
    estimator = lightgbm.LGBMClassifier(**QUIET).fit(rows, label)
    sums = tree_sum_of(estimator)
    model = open_model("onnx", sums.to_onnx(4), Output())
    np.testing.assert_allclose(model.outputs(rows), estimator.predict_proba(rows)[:, 1], atol=1e-6)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "skops", "skops of words"])
def test_a_bare_file_is_compiled_with_itself_as_the_measure(artifacts, name):
    frame = pl.DataFrame(X, schema=list("abcd"))
    words = np.array(["no", "yes"])[TWO]
    made_by = {
        "lightgbm": lambda: light(lightgbm.LGBMClassifier(**QUIET).fit(X, TWO), Output()),
        "xgboost": lambda: gradient(xgboost.XGBClassifier(n_estimators=9).fit(X, TWO), Output()),
        "skops": lambda: RandomForestClassifier(5, random_state=0).fit(X, TWO),
        "skops of words": lambda: RandomForestClassifier(5, random_state=0).fit(X, words),
    }[name]
    form, model = name.split()[0], made_by()
    content = b"native"
    if form == "skops":
        content = skops.io.dumps(model)
        model = open_model("skops", content, Output())
    made = package_file(
        Unproven(form, content, model, takes_missing=True), infer(frame, None, set("abcd")), X, artifacts=artifacts
    )
    assert (made.format, made.refused) == ("onnx", {})
    assert made.parity.nodes_compared > 0
    found = open_model("onnx", artifacts.get(made.models[0]), Output())
    np.testing.assert_allclose(found.outputs(X), model.outputs(X), atol=1e-5)


def test_a_bare_file_that_does_not_compile_is_kept_byte_for_byte(artifacts):
    estimator = fit(lightgbm.LGBMClassifier(**BY_SETS), X, TWO)
    content = estimator.booster_.model_to_string().encode()
    model = LightGbmModel(content, Output())
    with pytest.raises(InvalidInput, match="sets of categories"):
        tree_sum_of(estimator)
    made = package_file(
        Unproven("lightgbm", content, model, takes_missing=True), numbers(Output()), X, artifacts=artifacts
    )
    assert made.format == "lightgbm"
    assert "sets of categories" in made.refused["onnx"]
    assert artifacts.get(made.models[0]) == content
