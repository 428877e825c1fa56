import numpy as np
import polars as pl
import pytest

from loopline.monitoring.profile import profile, reference_profile
from loopline.monitoring.quality import find_faults
from loopline.monitoring.units import Recent

ROWS = 600


def frame(seed, season=0.0, **changes):
    rng = np.random.default_rng(seed)
    columns = {
        "temp": rng.normal(70 + 4 * np.sin(seed) + season, 6, ROWS),
        "distance": rng.gamma(3, 300, ROWS),
        "gap": rng.normal(0, 12, ROWS),
        "carrier": rng.choice(["AA", "DL", "UA", "B6"], ROWS, p=[0.4, 0.3, 0.2, 0.1]),
    }
    return pl.DataFrame(columns | changes)


@pytest.fixture(scope="module")
def reference():
    return reference_profile([frame(seed) for seed in range(20)])


def faults(reference, rows, recent=None):
    return {
        (one.column, one.kind): one for one in find_faults(reference, profile(rows, reference.binning), recent=recent)
    }


def recent_of(reference, *more):
    return Recent([one.numbers for one in (*reference.blocks, *(profile(rows, reference.binning) for rows in more))])


@pytest.mark.parametrize(
    ("column", "factor"),
    [
        *[(column, factor) for column in ("distance", "temp") for factor in (0.3048, 60.0, 0.001, 100.0)],
        *[("gap", factor) for factor in (60.0, 0.001, 100.0)],
    ],
)
def test_a_factor_is_found_in_any_column(reference, column, factor):
    rows = frame(50).with_columns(pl.col(column) * factor)
    found = faults(reference, rows, recent_of(reference))
    assert list(found) == [(column, "unit_change")]
    assert found[column, "unit_change"].value == pytest.approx(factor)


@pytest.mark.parametrize("factor", [0.2, 0.264, 0.3048, 1.7, 3.6])
def test_values_around_nought_that_spread_otherwise_are_in_no_other_unit(reference, factor):
    rows = frame(50).with_columns(pl.col("gap") * factor)
    assert not faults(reference, rows, recent_of(reference))
    assert not faults(reference, rows)


def test_degrees_are_found_from_one_stretch_to_the_next(reference):
    rows = frame(50).with_columns((pl.col("temp") - 32) * 5 / 9)
    found = faults(reference, rows, recent_of(reference))
    assert "Fahrenheit and Celsius" in found["temp", "unit_change"].sentence


def test_a_season_is_no_other_measure(reference):
    recent = recent_of(reference)
    for step in range(30):
        assert not faults(reference, frame(100 + step, season=-2.0 * step), recent)


def test_another_measure_stays_one_while_the_season_goes_on(reference):
    recent = recent_of(reference)
    for step in range(20):
        rows = frame(100 + step, season=-2.0 * step).with_columns(pl.col("temp") * 0.001)
        assert list(faults(reference, rows, recent)) == [("temp", "unit_change")]


def test_a_split_says_what_came_from_what(reference):
    half = np.random.default_rng(1).random(ROWS) < 0.5
    rows = frame(51).with_columns(
        carrier=pl.when(pl.Series(half) & (pl.col("carrier") == "DL")).then(pl.lit("DL-R")).otherwise("carrier")
    )
    found = faults(reference, rows)
    assert list(found) == [("carrier", "category_split")]
    share = (rows["carrier"] == "DL-R").mean()
    assert found["carrier", "category_split"].value == pytest.approx(share)
    assert f"carrier='DL' was split: 'DL-R' has {share:.1%}" in found["carrier", "category_split"].sentence


def test_a_rename_and_a_merge_are_told_apart(reference):
    renamed = faults(reference, frame(52).with_columns(pl.col("carrier").replace("UA", "United")))
    assert list(renamed) == [("carrier", "category_rename")]
    merged = faults(reference, frame(52).with_columns(pl.col("carrier").replace("B6", "UA")))
    assert list(merged) == [("carrier", "category_merge")]
    assert "'B6' no longer comes, and 'UA' has grown" in merged["carrier", "category_merge"].sentence


def test_new_values_that_nobody_lost_are_only_new(reference):
    rows = pl.concat([frame(53), frame(54).head(100).with_columns(carrier=pl.lit("HA"))])
    assert list(faults(reference, rows)) == [("carrier", "unseen_categories")]


def test_a_feed_that_stands_still_is_stale(reference):
    rows = frame(55).with_columns(temp=pl.Series(np.random.default_rng(2).choice([66.1, 71.2, 69.9], ROWS)))
    found = faults(reference, rows, recent_of(reference))
    assert ("temp", "stale_feature") in found
    assert found["temp", "stale_feature"].value == pytest.approx(3, abs=0.2)


def test_a_small_leak_of_nulls_is_one_where_there_were_none(reference):
    lost = pl.Series(np.arange(ROWS) % 20 == 0)
    rows = frame(56).with_columns(distance=pl.when(lost).then(None).otherwise("distance"))
    assert list(faults(reference, rows)) == [("distance", "null_rate")]


def test_sound_stretches_have_none(reference):
    recent = recent_of(reference)
    assert not [found for seed in range(200, 260) if (found := faults(reference, frame(seed), recent))]
