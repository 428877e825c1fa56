import numpy as np
import polars as pl

from loopline.evaluation.slices import slices_of


def test_values_make_slices_largest_first():
    column = pl.Series("carrier", ["AA"] * 5 + ["UA"] * 8 + ["ZZ"] + [None] * 3)
    got = slices_of(column, min_rows=2)
    assert list(got) == ["carrier=UA", "carrier=AA", "carrier=null"]
    assert got["carrier=AA"].tolist() == [True] * 5 + [False] * 12


def test_quantiles_part_the_known_numbers():
    x = np.random.default_rng(1).normal(size=1000)
    x[:50] = np.nan
    got = slices_of(pl.Series("x", x), min_rows=1)
    assert len(got) == 5
    assert (sum(mask.astype(int) for mask in got.values()) == 1).all()
    assert min(int(mask.sum()) for mask in got.values()) == 50


def test_few_integers_are_values_and_many_are_quantiles():
    assert set(slices_of(pl.Series("hour", [1, 2, 3] * 10), min_rows=1)) == {"hour=1", "hour=2", "hour=3"}
    assert len(slices_of(pl.Series("n", range(1000)), min_rows=1)) == 4


def test_a_constant_is_one_slice_and_nothing_is_none():
    assert list(slices_of(pl.Series("x", [2.5] * 9), min_rows=1)) == ["x=2.5"]
    assert list(slices_of(pl.Series("x", [None] * 9, dtype=pl.Float64), min_rows=1)) == ["x=null"]
    assert slices_of(pl.Series("x", [], dtype=pl.Float64)) == {}


def test_no_more_than_asked_for():
    column = pl.Series("c", [f"v{i:02}" for i in range(50) for _ in range(i + 1)])
    got = slices_of(column, at_most=5, min_rows=1)
    assert list(got) == ["c=v49", "c=v48", "c=v47", "c=v46", "c=v45"]
