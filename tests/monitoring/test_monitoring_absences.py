import numpy as np
import polars as pl
import pytest

from loopline.monitoring.absences import Absences
from loopline.monitoring.profile import profile, reference_profile
from loopline.monitoring.quality import find_faults

ROWS = 600
MERGED = ("carrier", "category_merge")


def frame(seed, values=("AA", "DL", "UA", "B6"), shares=(0.4, 0.3, 0.2, 0.1)):
    return pl.DataFrame({"carrier": np.random.default_rng(seed).choice(values, ROWS, p=shares)})


@pytest.fixture(scope="module")
def reference():
    return reference_profile([frame(seed) for seed in range(20)])


def merged(rows, old, new):
    return rows.with_columns(pl.col("carrier").replace(old, new))


def told(reference, stretches, absences):
    """The kinds of fault in each stretch."""
    return [
        {(one.column, one.kind) for one in find_faults(reference, profile(rows, reference.binning), absences=absences)}
        for rows in stretches
    ]


def begun(found, key=MERGED):
    """In which stretches such a fault begins."""
    return [place for place, now in enumerate(found) if key in now and (not place or key not in found[place - 1])]


def month(number, count=6):
    """One of two values, in turns, and a day of both."""
    old, new = ("B6", "UA") if number % 2 == 0 else ("UA", "B6")
    days = [frame(100 + number * count + day) for day in range(count)]
    return [*(merged(rows, old, new) for rows in days[:-1]), days[-1]]


def test_values_that_take_turns_are_told_once(reference):
    stretches = [rows for number in range(6) for rows in month(number)]
    assert len(begun(told(reference, stretches, None))) == 6, "each by itself is a merge"
    found = told(reference, stretches, Absences())
    assert begun(found) == [0]
    assert all(MERGED in now for now in found[:5])
    assert not any(found[5:])


def test_the_two_values_of_an_input_take_turns_without_being_constant():
    """Where there are but two, each month has only one of them."""
    two = {"values": ("on", "off"), "shares": (0.5, 0.5)}
    reference = reference_profile([frame(seed, **two) for seed in range(20)])
    stretches = [
        frame(50 + day, **two).with_columns(carrier=pl.lit("on" if day // 5 % 2 else "off")) for day in range(25)
    ]
    found = told(reference, stretches, Absences())
    assert begun(found, ("carrier", "constant")) == [0]
    assert not any(found[5:])


def test_what_was_merged_for_good_is_told_and_goes_on(reference):
    stretches = [merged(frame(200 + day), "B6", "UA") for day in range(30)]
    alone = told(reference, stretches, None)
    found = told(reference, stretches, Absences())
    assert sum(MERGED in now for now in alone) < 30, "some stretches by themselves would not say it"
    assert all(MERGED in now for now in found)


def test_an_absence_that_outlasts_all_before_is_new(reference):
    """Gone for four stretches, back for ten, and then for good: that is told once it has lasted more than eight."""
    gone = [merged(frame(300 + day), "B6", "UA") for day in range(4)]
    back = [frame(310 + day) for day in range(10)]
    for_good = [merged(frame(330 + day), "B6", "UA") for day in range(20)]
    found = told(reference, [*gone, *back, *for_good], Absences())
    first, second = begun(found)
    assert first <= 2
    assert 14 + 8 <= second <= 14 + 8 + 2
    assert all(MERGED in now for now in found[second:])


def test_a_few_rows_of_a_value_do_not_end_its_absence(reference):
    stretches = [merged(frame(400 + day), "B6", "UA") for day in range(8)]
    stretches[4] = stretches[4].with_columns(
        pl.when(pl.int_range(ROWS) < 3).then(pl.lit("B6")).otherwise("carrier").alias("carrier")
    )
    assert begun(told(reference, stretches, Absences())) == [0]


def test_others_that_share_what_is_missing_did_not_become_it(reference):
    """Without B6 all others have more; none of them has what it had."""
    stretches = [frame(500 + day, ("AA", "DL", "UA"), (4 / 9, 3 / 9, 2 / 9)) for day in range(40)]
    assert not any(MERGED in now for now in told(reference, stretches, Absences()))


def test_a_merge_shows_at_once_or_not_at_all():
    absences = Absences()
    for _ in range(3):
        absences.follow("x", {"a": (0.0, 0.1)})
        assert absences.begins("x", "a")
    absences.follow("x", {"a": (0.0, 0.1)})
    assert not absences.begins("x", "a")
    assert not absences.usual("x", "a")
    absences.follow("x", {"a": (0.08, 0.1)})
    absences.follow("x", {"a": (0.0, 0.1)})
    assert absences.usual("x", "a")
