import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output, as_column, from_column


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "multiclass"},
        {"kind": "multiclass", "classes": ("a",)},
        {"kind": "multiclass", "classes": ("a", "a")},
        {"kind": "quantile"},
        {"kind": "quantile", "levels": (0.5, 0.1)},
        {"kind": "quantile", "levels": (0.5, 1.0)},
        {"kind": "quantile", "levels": (0.5, 0.5)},
        {"kind": "binary", "classes": ("a", "b")},
        {"kind": "regression", "levels": (0.5,)},
    ],
)
def test_what_makes_no_model_is_refused(said):
    with pytest.raises(InvalidInput, match="do not make"):
        Output(**said)


def test_one_number_a_row():
    classes = Output("multiclass", ("a", "b", "c"))
    assert classes.scores(np.array([[0.2, 0.5, 0.3]])).tolist() == [0.5]
    assert Output("quantile", levels=(0.1, 0.6, 0.9)).scores(np.array([[1.0, 2.0, 3.0]])).tolist() == [2.0]
    assert Output("regression").scores(np.array([7.0])).tolist() == [7.0]


@given(st.integers(1, 4), st.integers(0, 6))
def test_columns_give_back_what_they_were_given(width, height):
    outputs = np.arange(width * height, dtype=float).reshape(height, width)
    if height:
        assert np.array_equal(from_column(as_column("o", outputs)), outputs)
    assert np.array_equal(from_column(as_column("o", outputs[:, 0])), outputs[:, 0])


def test_null_is_nan_and_lengths_must_agree():
    assert np.isnan(from_column(pl.Series([None, [1.0, 2.0]]))[0]).all()
    with pytest.raises(InvalidInput, match="different lengths"):
        from_column(pl.Series([[1.0], [1.0, 2.0]]))
