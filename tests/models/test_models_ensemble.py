"""Ensembles and chains: what is packaged gives what computing it by hand gives."""

import lightgbm
import numpy as np
import polars as pl
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge

import loopline as ll
from loopline.errors import InvalidInput
from loopline.evaluation.calibration import LogisticCalibrator
from loopline.evaluation.kind import Output
from loopline.models.graph import GraphModel, Node
from loopline.models.package import PAYLOAD_TYPE, decode_package
from loopline.models.packaging import Unproven, package, package_files
from loopline.models.predictor import load_predictor
from loopline.models.runtimes.lightgbm import LightGbmModel
from loopline.models.signature import infer
from loopline.models.signing import sign

RNG = np.random.default_rng(4)
X = RNG.normal(size=(700, 3)).astype(np.float32)
TWO = (X[:, 0] + X[:, 1] ** 2 + RNG.normal(size=700) > 0.7).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
VALUE = 20 * X[:, 0] + X[:, 2]
FRAME = pl.DataFrame(X, schema=["a", "b", "c"])
QUIET = {"verbose": -1, "n_estimators": 12, "random_state": 0}
CLASSES = Output("multiclass", ("low", "middle", "high"))


def loaded(estimator, output, artifacts, key, calibrator=None):
    made = package(estimator, infer(FRAME, None, set("abc"), output), X, calibrator=calibrator, artifacts=artifacts)
    assert decode_package(artifacts.get(made.digest)) == made
    return made, load_predictor(
        artifacts, made.digest, envelope=sign(key, PAYLOAD_TYPE, made.encoded()), keys=key.public
    )


def test_a_weighted_mean_of_classifiers_of_four_libraries(artifacts, key):
    members = [
        HistGradientBoostingClassifier(max_iter=9, random_state=0).fit(X, TWO),
        lightgbm.LGBMClassifier(**QUIET).fit(X, TWO),
        xgboost.XGBClassifier(n_estimators=9).fit(X, TWO),
        LogisticRegression().fit(X, TWO),
    ]
    weights = [1, 2, 3, 4]
    made, model = loaded(ll.ensemble(members, weights=weights), Output(), artifacts, key)
    by_hand = np.average([one.predict_proba(X)[:, 1] for one in members], axis=0, weights=weights)
    np.testing.assert_allclose(model.predict(FRAME), by_hand, atol=2e-6)
    assert (made.format, len(made.models), [node.format for node in made.nodes[:4]]) == ("graph", 4, ["onnx"] * 4)
    assert made.parity.nodes_compared > 0
    assert {"lightgbm", "xgboost", "scikit-learn"} <= set(made.libraries)
    again, _ = loaded(ll.ensemble(members, weights=[10, 20, 30, 40]), Output(), artifacts, key)
    assert again.digest == made.digest


def test_classes_values_and_the_greatest(artifacts, key):
    forests = [RandomForestClassifier(5, random_state=seed).fit(X, THREE) for seed in (1, 2)]
    _, model = loaded(ll.ensemble(forests), CLASSES, artifacts, key)
    by_hand = (forests[0].predict_proba(X) + forests[1].predict_proba(X)) / 2
    np.testing.assert_allclose(model.predict(FRAME), by_hand, atol=1e-6)
    seen = [RandomForestClassifier(5, random_state=seed).fit(X, np.where(THREE == 1, 2, THREE)) for seed in (1, 2)]
    _, model = loaded(ll.ensemble(seen), CLASSES, artifacts, key)
    found, by_hand = model.predict(FRAME), (seen[0].predict_proba(X) + seen[1].predict_proba(X)) / 2
    np.testing.assert_allclose(found, np.column_stack([by_hand[:, 0], np.zeros(700), by_hand[:, 1]]), atol=1e-6)
    lines = [Ridge().fit(X, VALUE), Ridge().fit(X, -VALUE), lightgbm.LGBMRegressor(**QUIET).fit(X, VALUE)]
    _, model = loaded(ll.ensemble(lines, how="max"), Output("regression"), artifacts, key)
    np.testing.assert_allclose(
        model.predict(FRAME), np.max([one.predict(X) for one in lines], axis=0), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("first", ["classifier", "regressor"])
def test_the_second_of_a_chain_takes_the_score_of_the_first(artifacts, key, first):
    if first == "classifier":
        one = lightgbm.LGBMClassifier(**QUIET).fit(X, TWO)
        score = one.predict_proba(X)[:, 1]
    else:
        one = Ridge().fit(X, VALUE)
        score = one.predict(X)
    rows = ll.chained(one, X)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, np.column_stack([X, score]).astype(np.float32))
    two = HistGradientBoostingRegressor(max_iter=9, random_state=0).fit(rows, VALUE**2)
    made, model = loaded(ll.chain(one, two), Output("regression"), artifacts, key)
    np.testing.assert_allclose(model.predict(FRAME), two.predict(rows), rtol=1e-5, atol=1e-5)
    assert [node.after for node in made.nodes] == [(), (0,)]


def test_chains_in_ensembles_and_ensembles_in_chains_and_a_calibrator(artifacts, key):
    pair = ll.ensemble([LogisticRegression().fit(X, TWO), LogisticRegression(C=0.01).fit(X, TWO)])
    wider = ll.chained(pair, X)
    last = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(wider, TWO)
    alone = lightgbm.LGBMClassifier(**QUIET).fit(X, TWO)
    calibrator = LogisticCalibrator(0.7, 0.1)
    whole = ll.ensemble([ll.chain(pair, last), alone], weights=[3, 1])
    _, model = loaded(whole, Output(), artifacts, key, calibrator)
    raw = 0.75 * last.predict_proba(wider)[:, 1] + 0.25 * alone.predict_proba(X)[:, 1]
    expected = 1 / (1 + np.exp(-(0.7 * np.log(raw / (1 - raw)) + 0.1)))
    np.testing.assert_allclose(model.predict(FRAME), expected, atol=2e-6)


class Linear:
    """A runtime that is one line."""

    def __init__(self, slopes: list[float]) -> None:
        self.slopes = np.array(slopes)

    def outputs(self, matrix):
        return matrix.astype(float) @ self.slopes


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.floats(-4, 4), min_size=2, max_size=2), min_size=1, max_size=4),
    st.lists(st.floats(0.1, 9), min_size=4, max_size=4),
    st.booleans(),
)
def test_a_graph_of_lines_is_computed_as_by_hand(slopes, weights, chained):
    number, used = Output("regression"), np.array(weights[: len(slopes)])
    used = used / used.sum()
    nodes = [Node(output=number, model=place) for place in range(len(slopes))]
    nodes.append(Node(output=number, after=tuple(range(len(slopes))), weights=tuple(used)))
    models = [Linear(one) for one in slopes]
    rows = X[:20, :2]
    expected = np.average([rows.astype(float) @ np.array(one) for one in slopes], axis=0, weights=used)
    if chained:
        nodes.append(Node(output=number, model=len(slopes), after=(len(slopes),)))
        models.append(Linear([1, 0, 2]))
        expected = rows[:, 0].astype(float) + 2 * expected
    np.testing.assert_allclose(GraphModel(nodes, models).outputs(rows), expected, rtol=1e-6, atol=1e-5)


def test_files_answer_together(artifacts, key):
    fitted = [lightgbm.LGBMClassifier(**QUIET).fit(X, label) for label in (TWO, 1 - TWO)]
    texts = [one.booster_.model_to_string().encode() for one in fitted]
    files = [Unproven("lightgbm", text, LightGbmModel(text, Output()), takes_missing=True) for text in texts]
    made = package_files(files, infer(FRAME, None, set("abc")), X, weights=(0.7, 0.3), artifacts=artifacts)
    model = load_predictor(artifacts, made.digest, envelope=sign(key, PAYLOAD_TYPE, made.encoded()), keys=key.public)
    by_hand = 0.7 * fitted[0].predict_proba(X)[:, 1] + 0.3 * fitted[1].predict_proba(X)[:, 1]
    np.testing.assert_allclose(model.predict(FRAME), by_hand, atol=2e-6)
    assert not made.refused


def test_what_does_not_go_together_is_refused(artifacts):
    two, three = LogisticRegression().fit(X, TWO), LogisticRegression().fit(X, THREE)
    for make, code in [
        (lambda: ll.ensemble([]), "ensemble.weights"),
        (lambda: ll.ensemble([two, two], weights=[1, -1]), "ensemble.weights"),
        (lambda: ll.ensemble([two, two], weights=[1]), "ensemble.weights"),
        (lambda: ll.ensemble([two, three]), "ensemble.other_classes"),
        (lambda: ll.ensemble([two, two], how="max"), "ensemble.how"),
        (lambda: ll.ensemble([two, two], how="median"), "ensemble.how"),
        (lambda: ll.chain(three, two), "chain.first"),
        (lambda: ll.chain("nothing", two), "model.other_kind"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            make()
        assert caught.value.code == code
    levels = Output("quantile", levels=(0.5,))
    with pytest.raises(InvalidInput, match="quantiles"):
        package(
            {0.5: ll.ensemble([Ridge().fit(X, VALUE)])},
            infer(FRAME, None, set("abc"), levels),
            X,
            calibrator=None,
            artifacts=artifacts,
        )
    assert not list(artifacts.digests())
