from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from loopline.errors import InvalidInput
from loopline.evaluation.calibrators import choose
from loopline.labels.label import Label
from loopline.training.fit import CALIBRATION_SHARE, LEAST_ROWS, fit
from loopline.training.training_set import LabelledRows, Recipe, TrainingSet

T0 = datetime(2026, 1, 1, tzinfo=UTC)
RECIPE = Recipe("d", "at", ("carrier", "x"), ("carrier",), (), Label("a", pl.col("y"), "1d"))


def rows(count: int = 2000, *, seed: int = 0) -> LabelledRows:
    rng = np.random.default_rng(seed)
    x, carrier = rng.normal(size=count), rng.integers(0, 5, count)
    y = rng.random(count) < 1 / (1 + np.exp(-(1.5 * x + 0.4 * carrier - 1)))
    frame = pl.DataFrame(
        {
            "_key": [str(number) for number in range(count)],
            "_event_time": [T0 + timedelta(minutes=number) for number in range(count)],
            "carrier": carrier.astype(str),
            "x": x,
            "label": y.astype(float),
        }
    )
    return LabelledRows(frame, RECIPE)


def boosted(train: TrainingSet, params: dict) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=25, random_state=train.seed, **params).fit(train.X, train.y)


def test_the_same_seed_gives_the_same_model_whatever_threads_there_are():
    given = rows()

    def scores(threads: int) -> np.ndarray:
        with threadpool_limits(limits=threads):
            made = fit(boosted, {}, given, seed=3)
        return np.concatenate([made.estimator.predict_proba(made.training_set.X)[:, 1], made.unseen_scores])

    here = scores(1)
    with ThreadPoolExecutor(2) as pool:
        elsewhere = list(pool.map(scores, [2, 4]))
    np.testing.assert_array_equal(here, elsewhere[0])
    np.testing.assert_array_equal(here, elsewhere[1])


def test_another_seed_is_another_seed_and_each_fit_has_its_own():
    seeds: list[int] = []

    def seen(train: TrainingSet, params: dict) -> LogisticRegression:
        seeds.append(train.seed)
        return LogisticRegression().fit(train.X, train.y)

    for seed in (3, 3, 4):
        fit(seen, {}, rows(200), seed=seed)
    assert seeds[:2] == seeds[2:4]
    assert len(set(seeds)) == 4


def test_the_calibration_is_learnt_on_rows_that_its_estimator_had_not_seen():
    given, sizes = rows(1000), []

    def memory(train: TrainingSet, params: dict):
        sizes.append((len(train), train.at[-1]))
        return boosted(train, params)

    made = fit(memory, {"max_depth": 3}, given, seed=1)
    cut = int(1000 * (1 - CALIBRATION_SHARE))
    last = [moment.replace(tzinfo=None) for moment in given.frame["_event_time"][[cut - 1, 999]]]
    assert sizes == [(cut, np.datetime64(last[0])), (1000, np.datetime64(last[1]))]
    with threadpool_limits(limits=1):
        early = boosted(early_part(made.training_set, cut), {"max_depth": 3})
    unseen = early.predict_proba(made.training_set.X[cut:])[:, 1]
    expected = choose("binary", unseen, given.frame["label"].to_numpy()[cut:])
    assert made.calibration.name == expected.name
    np.testing.assert_allclose(made.unseen_scores, expected.apply(unseen), rtol=1e-9)
    np.testing.assert_array_equal(made.unseen_labels, given.frame["label"].to_numpy()[cut:])


def early_part(whole: TrainingSet, cut: int) -> TrainingSet:
    fitted_with: list[int] = []
    fit(
        lambda train, _: fitted_with.append(train.seed) or LogisticRegression().fit(train.X, train.y),
        {},
        rows(1000),
        seed=1,
    )
    return TrainingSet(
        whole.X[:cut], whole.y[:cut], whole.at[:cut], whole.feature_names, whole.categorical, fitted_with[0]
    )


def test_a_model_that_learns_by_heart_is_calibrated_on_what_it_does_not_know():
    """The nearest neighbour is sure of all it saw; on unseen rows its mean score is that of the labels."""

    def by_heart(train: TrainingSet, params: dict) -> KNeighborsClassifier:
        return KNeighborsClassifier(1).fit(train.X, train.y)

    made = fit(by_heart, {}, rows(3000, seed=5), seed=1)
    np.testing.assert_array_equal(made.estimator.predict(made.training_set.X), made.training_set.y)
    assert made.unseen_scores.mean() == pytest.approx(made.unseen_labels.mean(), abs=0.02)
    assert 0.1 < made.unseen_scores.min() < made.unseen_scores.max() < 0.9


def test_the_signature_knows_what_is_given_and_what_is_a_name():
    made = fit(boosted, {}, rows(200), seed=0)
    assert [(field.name, field.kind, field.given) for field in made.signature.fields] == [
        ("carrier", "category", True),
        ("x", "number", True),
    ]
    assert made.training_set.categorical == (True, False)


def test_params_are_the_functions_own():
    params = {"max_depth": 2}

    def spoil(train: TrainingSet, given: dict) -> HistGradientBoostingClassifier:
        assert given.pop("max_depth") == 2
        return boosted(train, {})

    fit(spoil, params, rows(100), seed=0)
    assert params == {"max_depth": 2}


def test_too_few_rows_are_refused():
    with pytest.raises(InvalidInput) as caught:
        fit(boosted, {}, rows(LEAST_ROWS - 1), seed=0)
    assert caught.value.code == "training.too_few_rows"
    assert fit(boosted, {}, rows(LEAST_ROWS), seed=0).training_set.X.shape == (LEAST_ROWS, 2)


@pytest.mark.parametrize("cut", [0, 85])
def test_one_class_is_refused_before_anything_is_fitted(cut):
    """All labels alike, or all of the early part, which has to be fitted for itself."""
    label = pl.Series([0.0] * 100) if cut == 0 else pl.Series([1.0] * cut + [0.0] * (100 - cut))
    given = rows(100)
    called: list[int] = []
    with pytest.raises(InvalidInput) as caught:
        fit(lambda *_: called.append(1), {}, LabelledRows(given.frame.with_columns(label=label), RECIPE), seed=0)
    assert (caught.value.code, called) == ("training.one_class", [])


@pytest.mark.parametrize("made", [None, LinearRegression(), "model"])
def test_what_gives_no_probabilities_is_refused(made):
    with pytest.raises(InvalidInput) as caught:
        fit(lambda *_: made, {}, rows(100), seed=0)
    assert caught.value.code == "model.not_binary"
    assert type(made).__name__ in caught.value.message
