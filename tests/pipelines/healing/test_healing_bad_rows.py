"""Rows that a step says are wrong are set aside, in order, and only where something is left."""

import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import loopline as ll
from loopline.errors import InvalidInput
from loopline.pipelines.healing.bad_rows import set_aside


@given(height=st.integers(2, 30), data=st.data())
def test_good_and_bad_rows_are_all_there_is(height, data):
    bad = data.draw(st.sets(st.integers(0, height - 1), min_size=1, max_size=height - 1))
    frame = pl.DataFrame({"x": range(height)})
    good, aside = set_aside(frame, ll.BadRows("rows", bad, "negative"))
    assert good["x"].to_list() == [row for row in range(height) if row not in bad]
    assert aside["x"].to_list() == sorted(bad)
    assert_frame_equal(pl.concat([good, aside]).sort("x"), frame)


@pytest.mark.parametrize("rows", [[], [0, 1], [2], [-1]])
def test_where_nothing_is_left_or_named_it_is_no_remedy(rows):
    with pytest.raises(InvalidInput) as told:
        set_aside(pl.DataFrame({"x": [1, 2]}), ll.BadRows("rows", rows, "negative"))
    assert told.value.code == "rows.cannot_set_aside"


def test_rows_of_a_pandas_frame_are_set_aside_by_their_positions():
    frame = pd.DataFrame({"n": [1, 2, 3]}, index=[7, 7, 9])
    good, bad = set_aside(frame, ll.BadRows("rows", [1], "wrong"))
    assert good["n"].to_list() == [1, 3]
    assert good.index.to_list() == [7, 9]
    assert bad["n"].to_list() == [2]
    series, _ = set_aside(frame["n"], ll.BadRows("rows", [0, 1], "wrong"))
    assert series.to_list() == [3]


@pytest.mark.parametrize("value", [None, [1, 2], {"n": [1]}])
def test_of_what_is_no_frame_nothing_can_be_set_aside(value):
    with pytest.raises(InvalidInput, match="no frame"):
        set_aside(value, ll.BadRows("rows", [0], "wrong"))
