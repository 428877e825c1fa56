"""Planted leaks are found, and honest features are not called leaks."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.metrics import roc_auc_score

from loopline.training.tells import tells

RNG = np.random.default_rng(5)
HONEST = {
    "breast cancer": (load_breast_cancer, "binary"),
    "iris": (load_iris, "multiclass"),
    "wine": (load_wine, "multiclass"),
    "diabetes": (load_diabetes, "regression"),
}


def data(name):
    load, kind = HONEST[name]
    found = load()
    return pl.DataFrame(found.data, schema=list(map(str, found.feature_names))), found.target.astype(float), kind


def suspects(*arguments):
    return {(tell.column, tell.by) for tell in tells(*arguments) if tell.suspect}


@pytest.mark.parametrize("name", HONEST)
def test_honest_features_are_not_suspect(name):
    assert suspects(*data(name)) == set()


@pytest.mark.parametrize("name", HONEST)
def test_planted_leaks_are_suspect(name):
    frame, y, kind = data(name)
    noise = 0.08 * y.std() * RNG.normal(size=len(y))
    frame = frame.with_columns(copy=pl.Series(y), noisy=pl.Series(-y + noise), named=pl.Series([f"c{v}" for v in y]))
    expected = {("copy", "values"), ("noisy", "values")} | ({("named", "values")} if kind != "regression" else set())
    assert expected <= suspects(frame, y, kind)


def test_what_is_filled_for_one_label_only_is_suspect():
    y = (RNG.random(2000) < 0.2).astype(float)
    some = np.where((y == 1) & (RNG.random(2000) < 0.3), "asked", None)
    frame = pl.DataFrame(
        {"reason": pl.Series(some.tolist(), dtype=pl.String), "gaps": [None if i % 3 else 1.0 for i in range(2000)]}
    )
    assert suspects(frame, y, "binary") == {("reason", "presence")}


def test_a_category_that_comes_with_one_label_is_told_of():
    y = (RNG.random(2000) < 0.2).astype(float)
    state = np.where((y == 1) & (RNG.random(2000) < 0.5), "closed", RNG.choice(["open", "new"], 2000))
    found = [tell for tell in tells(pl.DataFrame({"state": state}), y, "binary") if tell.by == "value"]
    assert ["'closed'" in tell.sentence for tell in found] == [True]


def test_a_copy_with_errors_is_suspect():
    y = (RNG.random(3000) < 0.5).astype(float)
    wrong = RNG.random(3000) < 0.03
    assert suspects(pl.DataFrame({"copy": np.where(wrong, 1 - y, y).astype(int)}), y, "binary") == {("copy", "values")}


def test_times_can_leak():
    y = (RNG.random(500) < 0.5).astype(float)
    when = pl.Series([1_700_000_000_000_000 + int(v) * 10**12 + i for i, v in enumerate(y)]).cast(
        pl.Datetime("us", "UTC")
    )
    assert suspects(pl.DataFrame({"closed": when}), y, "binary") == {("closed", "values")}


@pytest.mark.parametrize("seed", range(5))
def test_chance_is_not_suspect(seed):
    rng = np.random.default_rng(seed)
    few = pl.DataFrame({f"x{i}": rng.normal(size=12) for i in range(200)})
    assert suspects(few, np.arange(12) % 2, "binary") == set()
    many = pl.DataFrame(
        {f"x{i}": rng.normal(size=300) for i in range(30)}
        | {"id": [f"i{i}" for i in range(300)], "c": rng.integers(0, 150, 300).astype(str)}
    )
    for kind, y in (
        ("binary", rng.integers(0, 2, 300)),
        ("multiclass", rng.integers(0, 4, 300)),
        ("regression", rng.normal(size=300)),
    ):
        assert suspects(many, y, kind) == set()
        assert max(tell.strength for tell in tells(many, y, kind)) < 0.7


def test_the_area_is_that_of_scikit_learn():
    y = (RNG.random(1500) < 0.3).astype(float)
    x = (RNG.normal(size=1500) + y).round(1)
    [found] = [tell for tell in tells(pl.DataFrame({"x": x}), y, "binary") if tell.by == "values"]
    assert found.strength == pytest.approx(roc_auc_score(y, x), abs=0.01)


def test_unknown_labels_are_left_out():
    y = np.array([0.0, 1.0] * 100 + [np.nan] * 100)
    frame = pl.DataFrame({"x": [0.0, 1.0] * 100 + [5.0] * 100})
    assert suspects(frame, y, "binary") == {("x", "values")}
    assert tells(frame, np.full(300, np.nan), "binary") == []
    assert tells(frame, np.ones(300), "binary") == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["binary", "multiclass", "regression"]))
def test_order_of_columns_and_renaming_of_categories_change_nothing(seed, kind):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, {"binary": 2, "multiclass": 3, "regression": 50}[kind], 120).astype(float)
    frame = pl.DataFrame(
        {"a": rng.normal(size=120), "b": rng.choice(["x", "y", "z"], 120), "c": rng.integers(0, 4, 120)}
    )
    renamed = frame.with_columns(b=pl.col("b").replace({"x": "zz", "y": "a", "z": "m"}))
    key = [(tell.column, tell.by, round(tell.strength, 9)) for tell in tells(frame, y, kind) if tell.by == "values"]
    assert key == [
        (t.column, t.by, round(t.strength, 9))
        for t in tells(renamed.select("c", "b", "a"), y, kind)
        if t.by == "values"
    ]
    assert all(0 <= strength <= 1 for _, _, strength in key)
