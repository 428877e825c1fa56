"""Explanations of packaged models against shap's own."""

import warnings
from itertools import permutations

import lightgbm
import msgspec
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from loopline.errors import Corrupt, InvalidInput, Unavailable
from loopline.evaluation.calibration import LogisticCalibrator
from loopline.evaluation.kind import Output
from loopline.models import package as packages
from loopline.models.background import Background, keep_background, read_background, spread
from loopline.models.explainer import EVERY_SET, SAMPLED, TREES, Explainer, load_explainer
from loopline.models.packaging import package
from loopline.models.predictor import load_predictor
from loopline.models.signature import Field, Signature
from loopline.models.signing import create_key, sign

LINE = LogisticCalibrator(1.3, 0.2)


@pytest.fixture(scope="session")
def shap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap  # noqa: PLC0415 - takes seconds

        return shap


def many(fields, *, gaps, seed=0, rows=1200):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, fields)).astype(np.float32)
    matrix[rng.random(matrix.shape) < gaps] = np.nan
    known = np.nan_to_num(matrix)
    label = (known[:, 0] + known[:, 1] * known[:, 2] + rng.normal(size=rows) > 0).astype(np.int64)
    names = [Field(name=f"f{place}", kind="number", given=True, nulls=gaps > 0) for place in range(fields)]
    return matrix, label, Signature(fields=tuple(names))


def explained(estimator, data, artifacts, key, calibrator=LINE):
    matrix, label, signature = data
    made = package(estimator.fit(matrix, label), signature, matrix[:300], calibrator=calibrator, artifacts=artifacts)
    envelope = sign(key, packages.PAYLOAD_TYPE, made.encoded())
    predictor = load_predictor(artifacts, made.digest, envelope=envelope, keys=key.public)
    digest = keep_background(artifacts, key, package=made.digest, matrix=matrix, seed=5)
    return load_explainer(artifacts, predictor, background=digest, keys=key.public)


def adds_up(explainer, rows):
    scores = explainer.predictor.outputs(rows)
    for score, found in zip(scores, explainer.explain(rows), strict=True):
        total = found.base + sum(found.contributions.values())
        assert total == pytest.approx(found.total, abs=1e-9)
        assert 1 / (1 + np.exp(-total)) == pytest.approx(score, abs=1e-6)
        sizes = [abs(one) for one in found.contributions.values()]
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(("kind", "gaps"), [(HistGradientBoostingClassifier, 0.1), (GradientBoostingClassifier, 0.0)])
def test_boosted_trees_are_explained_exactly_as_by_shap(shap, artifacts, key, gaps, kind):
    data = many(12, gaps=gaps)
    estimator = kind(random_state=0)
    explainer = explained(estimator, data, artifacts, key)
    assert explainer.method == TREES
    rows = data[0][500:520]
    ours = explainer.contributions(rows)
    theirs = shap.TreeExplainer(estimator, explainer.background, feature_perturbation="interventional")(rows)
    assert ours == pytest.approx(LINE.a * theirs.values, abs=1e-4)
    assert explainer.explain(rows[:1])[0].base == pytest.approx(LINE.a * theirs.base_values[0] + LINE.b, abs=1e-4)
    adds_up(explainer, rows)


def test_a_line_behind_other_steps_is_explained_as_by_shap(shap, artifacts, key):
    data = many(12, gaps=0.1)
    estimator = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    explainer = explained(estimator, data, artifacts, key)
    assert explainer.method == SAMPLED
    rows = data[0][500:510]
    before, line = estimator[:-1], estimator[-1]
    masker = shap.maskers.Independent(before.transform(explainer.background), 100)
    theirs = shap.LinearExplainer(line, masker)(before.transform(rows))
    assert explainer.contributions(rows) == pytest.approx(LINE.a * theirs.values, abs=1e-4)
    adds_up(explainer, rows)


def test_few_fields_are_explained_exactly_whatever_the_model(artifacts, key):
    data = many(4, gaps=0.0)
    estimator = RandomForestClassifier(20, max_depth=5, random_state=0)
    explainer = explained(estimator, data, artifacts, key)
    assert explainer.method == EVERY_SET
    row, background = data[0][500], explainer.background

    def mean_log_odds(matrix):
        inside = np.clip(LINE.apply(estimator.predict_proba(matrix)[:, 1]), 1e-6, 1 - 1e-6)
        return np.log(inside / (1 - inside)).mean()

    expected = np.zeros(4)
    for order in permutations(range(4)):
        mixed, before = background.copy(), mean_log_odds(background)
        for field in order:
            mixed[:, field] = row[field]
            now = mean_log_odds(mixed)
            expected[field] += (now - before) / 24
            before = now
    assert explainer.contributions(row[None])[0] == pytest.approx(expected, abs=1e-4)
    adds_up(explainer, data[0][500:503])


def test_many_fields_of_another_model_are_sampled_as_near_as_it_says(artifacts, key):
    """A forest of stumps is not additive in log-odds; two disjoint halves of the orders must agree within the error."""
    data = many(16, gaps=0.1)
    explainer = explained(RandomForestClassifier(20, max_depth=6, random_state=0), data, artifacts, key)
    assert explainer.method == SAMPLED
    rows = data[0][500:504]
    first = explainer.explain(rows)
    assert first == explainer.explain(rows)
    assert all(0 < one.error < 0.05 for one in first)
    adds_up(explainer, rows)


def test_a_score_at_the_clip_still_adds_up(artifacts, key):
    data = many(9, gaps=0.0)
    explainer = explained(
        HistGradientBoostingClassifier(max_iter=300, learning_rate=0.5, random_state=0),
        data,
        artifacts,
        key,
        LogisticCalibrator(40.0, 0.0),
    )
    scores = explainer.predictor.outputs(data[0][:50])
    assert scores.max() > 1 - 1e-6
    adds_up(explainer, data[0][:50])


def test_more_rows_than_are_explained_at_once_are_refused(artifacts, key):
    data = many(3, gaps=0.0)
    explainer = explained(LogisticRegression(), data, artifacts, key)
    assert explainer.explain(data[0][:0]) == []
    with pytest.raises(InvalidInput, match=r"explain\.too_many_rows"):
        explainer.explain(data[0][:101])


def test_the_summary_of_the_background_is_the_mean_of_its_explanations(artifacts, key):
    data = many(6, gaps=0.1)
    explainer = explained(HistGradientBoostingClassifier(max_iter=20, random_state=0), data, artifacts, key)
    found = explainer.summary()
    added = explainer.contributions(explainer.background)
    sizes = dict(zip(explainer.signature.names, np.abs(added).mean(axis=0), strict=True))
    assert {field.name: field.importance for field in found.fields} == pytest.approx(sizes, rel=1e-5)
    assert [field.importance for field in found.fields] == sorted(sizes.values(), reverse=True) or found.rows == 100
    first = next(field for field in found.fields if field.name == "f0")
    assert first.direction is not None
    assert first.direction > 0.8
    assert sum(level.rows for level in first.levels) == found.rows
    assert first.levels[-1].name == "missing"
    assert sum(field.share for field in found.fields) == pytest.approx(1, abs=1e-4)
    assert max(found.relative_importance().values()) == 1


def test_the_background_is_spread_signed_and_belongs_to_one_package(artifacts, key, tmp_path):
    matrix = np.arange(3000, dtype=np.float32).reshape(1000, 3)
    matrix[5, 1] = np.nan
    digest = keep_background(artifacts, key, package="sha256:a", matrix=matrix, seed=1)
    kept = read_background(artifacts, digest, package="sha256:a", keys=key.public).rows
    places = (kept[:, 0] / 3).astype(int)
    assert kept.dtype == np.float32
    assert kept.shape == (100, 3)
    assert (places // 10 == np.arange(100)).all()
    assert (kept == matrix[places]).all()
    with pytest.raises(Corrupt, match=r"explain\.other_package"):
        read_background(artifacts, digest, package="sha256:b", keys=key.public)
    with pytest.raises(Corrupt, match=r"signature\.unknown_key"):
        read_background(artifacts, digest, package="sha256:a", keys=create_key(tmp_path / "other").public)


@pytest.mark.parametrize("digest", ["", "sha256:" + "0" * 64])
def test_an_erased_background_is_said_so(artifacts, key, digest):
    with pytest.raises(Unavailable, match=r"explain\.no_background"):
        read_background(artifacts, digest, package="sha256:a", keys=key.public)


def test_few_rows_are_all_kept():
    assert spread(4, 100, 0).tolist() == [0, 1, 2, 3]
    assert Background(package="p", fields=2, cells=np.arange(4, dtype="<f4").tobytes()).rows.tolist() == [
        [0, 1],
        [2, 3],
    ]


def of_kind(kind, data, **shape):
    matrix, label, signature = data
    return matrix, label, msgspec.structs.replace(signature, output=Output(kind, **shape))


def test_numbers_are_explained_in_their_own_unit_as_by_shap(shap, artifacts, key):
    matrix, _, signature = many(12, gaps=0.1)
    target = np.nan_to_num(matrix[:, 0] * 3 + matrix[:, 1] ** 2).astype(np.float64)
    data = of_kind("regression", (matrix, target, signature))
    estimator = HistGradientBoostingRegressor(random_state=0)
    explainer = explained(estimator, data, artifacts, key, calibrator=None)
    assert (explainer.method, explainer.unit) == (TREES, "value")
    rows = matrix[500:510]
    theirs = shap.TreeExplainer(estimator, explainer.background, feature_perturbation="interventional")(rows)
    assert explainer.contributions(rows) == pytest.approx(theirs.values, abs=1e-3)
    for found, value in zip(explainer.explain(rows), explainer.predictor.outputs(rows), strict=True):
        assert found.base + sum(found.contributions.values()) == pytest.approx(value, abs=1e-6)


def test_of_several_classes_the_likeliest_is_explained(artifacts, key):
    matrix, _, signature = many(5, gaps=0.0)
    label = np.digitize(matrix[:, 0] + matrix[:, 1], [-0.5, 0.5])
    data = of_kind("multiclass", (matrix, label, signature), classes=("low", "middle", "high"))
    explainer = explained(LogisticRegression(), data, artifacts, key, calibrator=None)
    rows = matrix[:4]
    outputs = explainer.predictor.outputs(rows)
    for found, row in zip(explainer.explain(rows), outputs, strict=True):
        assert found.of == ("low", "middle", "high")[int(row.argmax())]
        total = found.base + sum(found.contributions.values())
        assert 1 / (1 + np.exp(-total)) == pytest.approx(row.max(), abs=1e-6)
    summary = explainer.summary()
    assert {field.name for field in summary.fields[:2]} == {"f0", "f1"}
    assert summary.base is None


def test_of_quantiles_the_middle_one_is_explained(artifacts, key):
    matrix, _, signature = many(4, gaps=0.0)
    target = matrix[:, 0].astype(np.float64) * 2
    made = of_kind("quantile", (matrix, target, signature), levels=(0.1, 0.5, 0.9))
    estimators = {
        level: HistGradientBoostingRegressor(loss="quantile", quantile=level, max_iter=20, random_state=0).fit(
            matrix, target
        )
        for level in (0.1, 0.5, 0.9)
    }
    packaged = package(estimators, made[2], matrix[:200], calibrator=None, artifacts=artifacts)
    envelope = sign(key, packages.PAYLOAD_TYPE, packaged.encoded())
    predictor = load_predictor(artifacts, packaged.digest, envelope=envelope, keys=key.public)
    background = keep_background(artifacts, key, package=packaged.digest, matrix=matrix, seed=5)
    explainer = load_explainer(artifacts, predictor, background=background, keys=key.public)
    [found] = explainer.explain(matrix[:1])
    assert found.unit == "value"
    assert found.base + sum(found.contributions.values()) == pytest.approx(
        predictor.outputs(matrix[:1])[0, 1], abs=1e-6
    )
    assert next(iter(found.contributions)) == "f0"


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_compiled_boosters_are_explained_by_their_trees(library, artifacts, key):
    estimator = (
        lightgbm.LGBMClassifier(n_estimators=12, num_leaves=6, verbose=-1)
        if library == "lightgbm"
        else xgboost.XGBClassifier(n_estimators=12, max_depth=3)
    )
    data = many(4, gaps=0.1)
    by_trees = explained(estimator, data, artifacts, key)
    assert by_trees.method == TREES
    by_sets = Explainer(by_trees.predictor, by_trees.background)
    assert by_sets.method == EVERY_SET
    np.testing.assert_allclose(by_trees.contributions(data[0][:5]), by_sets.contributions(data[0][:5]), atol=2e-5)
