import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loopline.scoring.pace import Pace

seconds = st.floats(1e-6, 1.0)


@given(seconds, st.floats(1e-7, 1e-2), st.floats(0, 2))
def test_so_many_rows_end_within_the_time_and_one_more_would_not(fixed, each, within):
    pace = Pace(fixed, each)
    rows = pace.rows_within(within)
    assert rows >= 1
    assert rows == 1 or pace.seconds(rows) <= within * (1 + 1e-9)
    assert pace.seconds(rows + 1) > within * (1 - 1e-9)


def test_it_learns_what_calls_take():
    pace = Pace(0.001, 0.0001)
    for _ in range(200):
        for rows in (1, 10, 100):
            pace.note(rows, 3 * (0.001 + 0.0001 * rows))
    assert abs(pace.seconds(50) / (3 * 0.006) - 1) < 0.01


def test_it_is_measured_by_calls_of_the_models_width():
    shapes = []
    pace = Pace.measured(lambda matrix: shapes.append(matrix.shape), 3)
    assert {width for _, width in shapes} == {3}
    assert {rows for rows, _ in shapes} == {1, 64}
    assert pace.fixed >= 0
    assert pace.each >= 0
    assert np.isfinite(pace.seconds(1))
