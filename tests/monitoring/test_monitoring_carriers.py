"""Slices that carry a harm, and how much a score depends on a column."""

import numpy as np
import polars as pl
import pytest

from loopline.monitoring.carriers import SliceSums, carriers
from loopline.monitoring.counting import count_categories, count_numbers, floats_of
from loopline.monitoring.importance import dependence
from loopline.monitoring.quality import stuck


def sums(name, block, mask, loss, onset, blocks):
    rows = np.bincount(block[mask], minlength=blocks).astype(float)
    lost = np.bincount(block[mask], weights=loss[mask], minlength=blocks)
    return SliceSums(name, rows[:onset], lost[:onset], rows[onset:], lost[onset:])


def sliced(harm, seed=0):
    """Rows of 40 blocks in five regions; from block 25 on region 2 loses `harm` more."""
    rng = np.random.default_rng(seed)
    block, region = np.repeat(np.arange(40), 200), rng.integers(0, 5, 8000)
    loss = rng.normal(0, 0.5, 8000) + 0.05 * rng.normal(size=40)[block] + harm * ((region == 2) & (block >= 25))
    everything = np.ones(8000, dtype=bool)
    return {"": sums("", block, everything, loss, 25, 40)} | {
        f"region={place}": sums(f"region={place}", block, region == place, loss, 25, 40) for place in range(5)
    }


def test_the_slice_that_is_harmed_carries_all_of_it():
    found = carriers(sliced(0.4))
    assert [one.slice for one in found] == ["region=2"]
    assert found[0].rise.lower < 0.4 < found[0].rise.upper
    assert found[0].share == pytest.approx(1.0, abs=0.35)
    assert found[0].rows_share == pytest.approx(0.2, abs=0.03)
    assert "region=2 carries" in found[0].sentence


def test_a_harm_of_all_rows_is_carried_by_none():
    found = 0
    for seed in range(60):
        given = sliced(0.0, seed)
        moved = {
            name: SliceSums(
                name, one.rows_before, one.loss_before, one.rows_since, one.loss_since + 0.3 * one.rows_since
            )
            for name, one in given.items()
        }
        found += bool(carriers(moved))
    assert found <= 60 * 0.05 + 5


def test_the_correlation_ratio_is_that_of_the_bins():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, 5000)
    score = codes + rng.normal(0, 1, 5000)
    between = sum((codes == place).mean() * (score[codes == place].mean() - score.mean()) ** 2 for place in range(4))
    assert dependence(codes, score) == pytest.approx(between / score.var(), abs=1e-3)
    assert dependence(rng.permutation(codes), score) == pytest.approx(0, abs=0.003)
    assert dependence(codes, np.full(5000, 0.3)) == 0.0


def test_missing_values_have_a_bin_of_their_own():
    values = floats_of(pl.Series([0.5, None, 2.5, float("nan"), -1.0, 2.0]))
    places = np.empty(6, dtype=np.uint8)
    count_numbers(values, (0.0, 1.0, 2.0), (0, 6), places)
    assert places.tolist() == [1, 4, 3, 4, 0, 2]
    count_categories(pl.Series(["a", None, "b", "a", "z"]), ("b", "a"), (0, 5), places[:5])
    assert places[:5].tolist() == [1, 3, 0, 1, 2]


def test_a_score_that_is_stuck_is_a_fault():
    assert stuck("the score", 0.3, 0.4, 0.01, 1000) is not None
    assert stuck("the score", 0.3, 0.05, 0.01, 1000) is None
    assert stuck("the score", 0.3, 1.0, 0.0, 20) is None
