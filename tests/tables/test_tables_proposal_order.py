"""Whether rows stand in the order of a column."""

import random

import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from loopline.tables.proposal.order import stand_in_order


@pytest.mark.parametrize(("load", "ordered"), [(load_iris, True), (load_breast_cancer, False), (load_diabetes, False)])
def test_iris_stands_in_order_and_others_do_not(load, ordered):
    assert stand_in_order(pl.Series(load().target)) is ordered


def test_shuffled_it_does_not_whatever_its_values():
    chance = random.Random(2)
    for values in (range(400), ["a"] * 300 + ["b"] * 100, [1.5, 2.5, None] * 100, [0] * 390 + [1] * 10):
        in_order = sorted(values, key=str)
        mixed = chance.sample(in_order, len(in_order))
        assert not stand_in_order(pl.Series(mixed))
    assert stand_in_order(pl.Series(range(400)))
    assert stand_in_order(pl.Series(["b"] * 300 + ["a"] * 100))


def test_one_value_and_none_have_no_order():
    assert not stand_in_order(pl.Series(["a"] * 50))
    assert not stand_in_order(pl.Series([], dtype=pl.Int64))
    assert not stand_in_order(pl.Series([[1], [2]]))
