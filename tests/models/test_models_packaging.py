import os
import subprocess
import sys
import textwrap

import numpy as np
import polars as pl
import pytest
from onnx import ModelProto
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from loopline.errors import InvalidInput
from loopline.evaluation.calibration import LogisticCalibrator
from loopline.models.conversion import to_onnx
from loopline.models.package import decode_package
from loopline.models.packaging import package
from loopline.models.parity import prove
from loopline.models.runtimes.onnx import OnnxModel
from loopline.models.signature import Field, Signature, infer


def numbers(count: int) -> Signature:
    return Signature(fields=tuple(Field(name=f"x{place}", kind="number", given=True) for place in range(count)))


def attributes(model: ModelProto) -> dict:
    return {attribute.name: attribute for node in model.graph.node for attribute in node.attribute}


@pytest.mark.parametrize(
    ("estimator", "takes_missing"),
    [
        (HistGradientBoostingClassifier(max_iter=20, random_state=0), True),
        (RandomForestClassifier(10, random_state=0), True),
        (make_pipeline(SimpleImputer(), RandomForestClassifier(5, random_state=0)), True),
        (CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=5, random_state=0), cv=2), True),
        (make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()), True),
        (GradientBoostingClassifier(n_estimators=10, random_state=0), False),
        (LogisticRegression(max_iter=3000), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_packaged_classifiers_score_as_their_estimators(fitted, artifacts, estimator, takes_missing):
    rows = fitted.rows if takes_missing else np.nan_to_num(fitted.rows)
    estimator.fit(rows, fitted.label)
    made = package(estimator, fitted.signature, rows, calibrator=None, artifacts=artifacts)
    onnx = OnnxModel(artifacts.get(made.models[0]))
    np.testing.assert_allclose(onnx.outputs(rows), estimator.predict_proba(rows)[:, 1], atol=2e-6)
    assert made.takes_missing is takes_missing
    assert made.parity.cases["real"] == made.parity.rows == len(rows)
    assert made.parity.cases["missing"] == (3 * 100 + 1 if takes_missing else 0)
    assert made.parity.cases["category"] == 5 * 4
    assert made.parity.cases["boundary"] == 3 * made.parity.thresholds_checked
    assert decode_package(artifacts.get(made.digest)) == made


def test_every_finite_threshold_of_a_boosted_model_is_checked(fitted, artifacts):
    made = package(fitted.estimator, fitted.signature, fitted.rows, calibrator=None, artifacts=artifacts)
    nodes = [stage[0].nodes for stage in fitted.estimator._predictors]
    inner = np.concatenate([tree["num_threshold"][tree["is_leaf"] == 0] for tree in nodes])
    assert made.parity.thresholds == len(inner)
    assert made.parity.thresholds_checked == np.isfinite(inner).sum()


def test_thresholds_between_neighbouring_float32_numbers_split_as_they_did():
    # Halfway between two neighbours, rounding to the nearest float32 puts half of the thresholds on the wrong side.
    ladder = np.float32(1) + np.arange(64, dtype=np.float32) * np.spacing(np.float32(1))
    random = np.random.default_rng(0)
    rows = random.choice(ladder, size=(4000, 1))
    label = (random.random(4000) < np.where(np.searchsorted(ladder, rows[:, 0]) % 2, 0.9, 0.1)).astype(int)
    estimator = HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=64, min_samples_leaf=5).fit(rows, label)
    scores = OnnxModel(to_onnx(estimator, 1)).outputs(ladder[:, None])
    np.testing.assert_allclose(scores, estimator.predict_proba(ladder[:, None])[:, 1], atol=1e-6)


def test_forests_send_missing_values_where_they_learnt_to(fitted):
    forest = RandomForestClassifier(10, random_state=1).fit(fitted.rows, fitted.label)
    gaps = fitted.rows[np.isnan(fitted.rows).any(axis=1)]
    scores = OnnxModel(to_onnx(forest, 3)).outputs(gaps)
    np.testing.assert_allclose(scores, forest.predict_proba(gaps)[:, 1], atol=1e-6)


@pytest.mark.parametrize("direction", [-np.inf, np.inf])
def test_a_threshold_moved_by_one_float32_is_found(fitted, direction):
    kinds = []
    content = to_onnx(fitted.estimator, 3)
    inner = np.flatnonzero(np.array(attributes(ModelProto.FromString(content))["nodes_modes"].strings) != b"LEAF")
    for node in inner[:: len(inner) // 12]:
        model = ModelProto.FromString(content)
        values = attributes(model)["nodes_values"].floats
        if np.isfinite(values[node]):
            values[node] = np.nextafter(np.float32(values[node]), np.float32(direction))
            kinds.append(refused_kind(fitted, model))
    assert set(kinds) <= {"real", "boundary"}  # a training row may lie right at a threshold
    assert kinds.count("boundary") > 2


def test_a_category_taken_for_its_neighbour_is_found(fitted):
    rows = fitted.rows.copy()
    rows[rows[:, 2] == 4] = np.nan  # no real row has the last category: only the rows made for the proof do
    model = ModelProto.FromString(to_onnx(fitted.estimator, 3))
    found = attributes(model)
    for node, (feature, value) in enumerate(
        zip(found["nodes_featureids"].ints, found["nodes_values"].floats, strict=True)
    ):
        if found["nodes_modes"].strings[node] == b"BRANCH_LEQ" and feature == 2 and value > 3:
            found["nodes_values"].floats[node] = 4.5
    with pytest.raises(InvalidInput) as caught:
        prove(fitted.estimator, OnnxModel(model.SerializeToString()), fitted.signature, rows, 1e-5)
    assert (caught.value.code, caught.value.context["kind"]) == ("model.parity_failed", "category")


def test_missing_values_sent_the_other_way_are_found(fitted):
    model = ModelProto.FromString(to_onnx(fitted.estimator, 3))
    tracks = attributes(model)["nodes_missing_value_tracks_true"].ints
    tracks[:] = [1 - value for value in tracks]
    full = fitted.rows[~np.isnan(fitted.rows).any(axis=1)]
    with pytest.raises(InvalidInput) as caught:
        prove(fitted.estimator, OnnxModel(model.SerializeToString()), fitted.signature, full, 1e-5)
    assert caught.value.context["kind"] == "missing"


def test_a_leaf_of_another_value_is_found(fitted):
    model = ModelProto.FromString(to_onnx(fitted.estimator, 3))
    attributes(model)["class_weights"].floats[5] += 0.01
    assert refused_kind(fitted, model) == "real"


def refused_kind(fitted, model: ModelProto) -> str:
    with pytest.raises(InvalidInput) as caught:
        prove(fitted.estimator, OnnxModel(model.SerializeToString()), fitted.signature, fitted.rows, 1e-5)
    assert caught.value.code == "model.parity_failed"
    assert caught.value.context["difference"] > 1e-5
    return caught.value.context["kind"]


def test_what_cannot_be_packaged_stores_nothing(fitted, artifacts):
    rows, label = np.nan_to_num(fitted.rows), fitted.label
    three = LogisticRegression(max_iter=3000).fit(rows, label + (rows[:, 0] > 1))
    for estimator, given, code in [
        (three, rows, "model.not_binary"),
        (LinearRegression().fit(rows, label), rows, "model.not_binary"),
        (HistGradientBoostingClassifier(), rows, "model.not_binary"),
        (LogisticRegression(max_iter=3000).fit(rows, label), fitted.rows, "model.missing_values"),
        (fitted.estimator, rows.astype(float), "model.rows"),
        (fitted.estimator, rows[:, :2], "model.rows"),
        (fitted.estimator, rows[:0], "model.rows"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            package(estimator, fitted.signature, given, calibrator=None, artifacts=artifacts)
        assert caught.value.code == code
    assert not list(artifacts.digests())


def test_a_scaler_before_trees_does_not_become_onnx(artifacts):
    random = np.random.default_rng(0)
    rows = random.uniform(0, 1e4, size=(3000, 3)).astype(np.float32)
    label = (np.sin(rows[:, 1]) + random.normal(size=3000) > 0).astype(int)
    estimator = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=20, random_state=0)).fit(
        rows, label
    )
    with pytest.raises(InvalidInput, match="drop a scaler"):
        prove(estimator, OnnxModel(to_onnx(estimator, 3)), numbers(3), rows, 1e-5)
    made = package(estimator, numbers(3), rows, calibrator=None, artifacts=artifacts)
    assert (made.format, made.parity.max_abs_difference) == ("skops", 0)
    assert made == package(estimator, numbers(3), rows, calibrator=None, artifacts=artifacts)


def test_native_categories_are_kept_by_skops(fitted, artifacts):
    rows = np.nan_to_num(fitted.rows)
    native = HistGradientBoostingClassifier(max_iter=5, categorical_features=[2]).fit(rows, fitted.label)
    with pytest.raises(InvalidInput, match="native categories"):
        to_onnx(native, 3)
    made = package(native, fitted.signature, rows, calibrator=None, artifacts=artifacts)
    assert (made.format, made.parity.max_abs_difference) == ("skops", 0)


@pytest.mark.parametrize("classes", [np.array([False, True]), np.array(["late", "punctual"])])
def test_labels_need_not_be_numbers(fitted, artifacts, classes):
    estimator = HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(fitted.rows, classes[fitted.label])
    made = package(estimator, fitted.signature, fitted.rows, calibrator=None, artifacts=artifacts)
    assert made.parity.max_abs_difference < 1e-6


def test_the_calibrator_is_part_of_the_digest(fitted, artifacts):
    made = [
        package(fitted.estimator, fitted.signature, fitted.rows, calibrator=calibrator, artifacts=artifacts)
        for calibrator in (None, LogisticCalibrator(1.0, 0.0), LogisticCalibrator(1.1, 0.0))
    ]
    assert len({one.digest for one in made}) == 3
    assert len({one.models[0] for one in made}) == 1


PROGRAM = textwrap.dedent("""
    import numpy as np, polars as pl
    from sklearn.ensemble import HistGradientBoostingClassifier
    from loopline.models.packaging import package
    from loopline.models.signature import infer
    from loopline.storage.artifacts import open_artifacts

    random = np.random.default_rng(0)
    frame = pl.DataFrame({"x": random.normal(size=500), "c": random.choice(list("abc"), size=500)})
    label = (frame["x"].to_numpy() > 0).astype(int)
    signature = infer(frame, label, {"x"})
    rows = signature.encode(frame)
    estimator = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(rows, label)
    made = package(estimator, signature, rows, calibrator=None, artifacts=open_artifacts("memory://"))
    print(made.digest)
""")


def test_two_processes_package_the_same_digest(capsys):
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    other = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    exec(PROGRAM, {})
    here = capsys.readouterr().out
    assert here.startswith("sha256:")
    assert other.stdout == here


def test_a_package_of_inferred_fields_survives_json(artifacts):
    frame = pl.DataFrame({"x": np.linspace(-1, 1, 200), "c": ["é", "b"] * 100})
    label = (frame["x"].to_numpy() > 0).astype(int)
    signature = infer(frame, label, {"c"})
    rows = signature.encode(frame)
    estimator = LogisticRegression().fit(rows, label)
    made = package(estimator, signature, rows, calibrator=LogisticCalibrator(0.9, 0.1), artifacts=artifacts)
    assert decode_package(made.encoded()) == made
