from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.training.folds import Folds, time_folds
from loopline.training.training_set import assemble
from loopline.training.trials import fold_rows

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as datetime64 counts, in UTC without saying so


def moments(values):
    return np.array([EPOCH + timedelta(hours=int(value)) for value in values], dtype="datetime64[us]")


@st.composite
def worlds(draw):
    rows = draw(st.integers(4, 40))
    at = draw(st.lists(st.integers(0, 30), min_size=rows, max_size=rows))
    late = draw(st.lists(st.integers(-3, 20), min_size=rows, max_size=rows))
    groups = draw(st.none() | st.lists(st.integers(0, 8), min_size=rows, max_size=rows))
    folds = Folds(
        draw(st.integers(2, 5)), draw(st.sampled_from(["", "6h", "1d"])), draw(st.sampled_from([0.3, 0.5, 0.9]))
    )
    return np.array(at), np.array(at) + np.array(late), groups, folds


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_folds_are_what_their_words_say(world):
    """Against brute force, group by group, from the cuts alone."""
    at, known, groups, folds = world
    try:
        made = time_folds(moments(at), moments(known), folds, None if groups is None else np.array(groups))
    except InvalidInput as error:
        assert error.code == "folds.too_few"  # noqa: PT017 - some worlds have no folds
        return
    members = list(range(len(at))) if groups is None else groups
    whole = {group: [row for row in range(len(at)) if members[row] == group] for group in set(members)}
    cuts = [int((fold.cut.replace(tzinfo=None) - EPOCH) / timedelta(hours=1)) for fold in made]
    assert cuts == sorted(set(cuts))
    seen: set[int] = set()
    for fold, cut in zip(made, cuts, strict=True):
        reach = cut - {"": 10**6, "6h": 6, "1d": 24}[folds.window]
        expected = [
            row
            for rows in whole.values()
            for row in rows
            if all(at[one] <= cut and known[one] <= cut for one in rows) and min(at[one] for one in rows) > reach
        ]
        assert sorted(fold.train) == sorted(expected)
        assert all(min(at[one] for one in whole[members[row]]) > cut for row in fold.validate)
        assert not seen & set(fold.validate.tolist()), "validated twice"
        seen |= set(fold.validate.tolist())
        for rows in whole.values():
            assert len({row in fold.validate for row in rows}) == 1, "a group is split"
    for earlier, later in pairwise(made):
        assert earlier.validate.max(initial=-1) >= 0
        begin = [min(at[one] for one in whole[members[row]]) for row in later.validate]
        assert min(begin) > max(min(at[one] for one in whole[members[row]]) for row in earlier.validate)


def test_stretches_are_of_equal_numbers_of_rows_and_cover_the_last_share():
    at = moments(range(1000))
    made = time_folds(at, at, Folds(4, share=0.5))
    assert [len(fold.validate) for fold in made] == [125] * 4
    assert [len(fold.train) for fold in made] == [500, 625, 750, 875]
    assert np.concatenate([fold.validate for fold in made]).tolist() == list(range(500, 1000))


def test_a_late_label_keeps_its_row_out_until_it_is_known():
    at = moments(range(100))
    known = at + np.timedelta64(24, "h")
    for fold in time_folds(at, known, Folds(2)):
        cut = np.datetime64(fold.cut.replace(tzinfo=None))
        assert known[fold.train].max() == cut
        assert at[fold.validate].min() == cut + np.timedelta64(1, "h")


def test_a_sliding_origin_forgets():
    at = moments(range(100))
    assert [len(fold.train) for fold in time_folds(at, at, Folds(2, window="1d"))] == [24, 24]


@pytest.mark.parametrize(("rows", "late"), [(0, 0), (1, 0), (2, 0), (50, 1000)])
def test_too_few_rows_are_refused(rows, late):
    at = moments(range(rows))
    with pytest.raises(InvalidInput) as caught:
        time_folds(at, at + np.timedelta64(late, "h"), Folds(3))
    assert caught.value.code == "folds.too_few"


@pytest.mark.parametrize("arguments", [(1,), (3, "", 0.0), (3, "", 1.0), (3, "soon")])
def test_folds_that_say_nothing_are_refused(arguments):
    with pytest.raises(InvalidInput):
        Folds(*arguments)


def test_the_rows_of_a_fold_are_those_that_a_training_at_its_cut_would_have_had(recipe, world):
    """Labels known and mature by the cut, encoded without a look ahead; corrected labels count from their correction."""
    as_of = datetime(2026, 1, 11, tzinfo=UTC)
    rows = assemble(recipe, world, as_of=as_of)
    made = fold_rows(rows, Folds(3), seed=1)
    assert len({fold.train.seed for fold in made}) == len(made) == 3
    ends = [fold.validate.at[-1] for fold in made]
    cuts = [fold.validate.at[0] for fold in made]  # the first row after each cut
    for fold, cut in zip(made, cuts, strict=True):
        then = assemble(recipe, world, as_of=cut.item().replace(tzinfo=UTC))
        assert set(fold.train.at) <= set(then.frame["_event_time"].dt.replace_time_zone(None).to_numpy())
        assert fold.train.at.max() < cut
    assert ends == sorted(ends)
