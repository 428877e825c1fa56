import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from loopline.training import leaks
from loopline.training.leaks import SUSPECT_AUC, leak_suspects
from loopline.training.training_set import TrainingSet


def training_set(y: np.ndarray, **columns: np.ndarray) -> TrainingSet:
    return TrainingSet(
        X=np.column_stack(list(columns.values())).astype(np.float32),
        y=y.astype(np.float64),
        at=np.arange(len(y)).astype("datetime64[us]"),
        feature_names=tuple(columns),
        categorical=(False,) * len(columns),
        seed=0,
    )


@given(
    values=st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.5, 1.0, 3.0, float("nan")]), min_size=4, max_size=60),
    chance=st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_the_area_is_that_of_scikit_learn(values, chance):
    labels = np.array([0, 1] + [chance.randint(0, 1) for _ in values[2:]])
    ranked = np.where(np.isnan(values), -99.0, values)  # missing values rank lowest
    area = roc_auc_score(labels, ranked)
    found = leaks.area_under_curve(np.array(values, dtype=np.float32), labels == 1)
    assert found == pytest.approx(max(area, 1 - area), abs=1e-12)


def test_a_planted_copy_of_the_label_is_named():
    rng = np.random.default_rng(1)
    y = (rng.random(2000) < 0.2).astype(float)
    found = leak_suspects(
        training_set(
            y,
            honest=y + rng.normal(0, 2, 2000),
            copied=y,
            turned_round=1 - y + rng.normal(0, 0.05, 2000),
            missing_tells=np.where(y == 1, np.nan, rng.random(2000)),
            delay=np.where(y == 1, rng.uniform(15, 200, 2000), rng.uniform(-30, 15, 2000)),
            noise=rng.normal(size=2000),
        )
    )
    assert set(found) == {"copied", "turned_round", "missing_tells", "delay"}
    assert found["copied"] == 1.0
    assert all(SUSPECT_AUC <= area <= 1 for area in found.values())


def test_strong_features_are_not_suspects():
    rng = np.random.default_rng(2)
    y = (rng.random(4000) < 0.5).astype(float)
    strong = y + rng.normal(0, 0.5, 4000)
    assert 0.9 < roc_auc_score(y, strong) < SUSPECT_AUC
    assert leak_suspects(training_set(y, strong=strong)) == {}


def test_one_class_shows_nothing():
    assert leak_suspects(training_set(np.zeros(100), copied=np.zeros(100))) == {}


def test_of_many_rows_an_even_sample_is_taken():
    """A leak in the last half only still shows as what it is on the whole."""
    rng = np.random.default_rng(3)
    y = (rng.random(60_000) < 0.3).astype(float)
    half = np.where(np.arange(60_000) < 30_000, rng.random(60_000), y)
    column = training_set(y, half=half, whole=y + rng.normal(0, 0.01, 60_000))
    assert set(leak_suspects(column)) == {"whole"}
