import numpy as np

from loopline.monitoring.risk import Risk
from loopline.monitoring.slice_risk import BUDGET_SHARE, SliceBlocks, watch_slices

BLOCKS, REFERENCE, ROWS = 200, 60, 400.0
RISK = Risk("log_loss", tolerance=0.01, block="1d", false_pages_per_year=1)


def slices_of(rng, names, harmed="", since=BLOCKS, rise=0.0):
    """Ten slices of equal size; all share the luck of the day, which is far larger than any slice's own."""
    day = rng.normal(0, 0.2, BLOCKS)
    parts = {}
    for name in names:
        mean = 0.4 + day + rng.normal(0, 0.4 / np.sqrt(ROWS), BLOCKS)
        mean[since:] += rise * (name == harmed)
        parts[name] = SliceBlocks(np.full(BLOCKS, ROWS), mean * ROWS)
    whole = SliceBlocks(sum(one.rows for one in parts.values()), sum(one.loss for one in parts.values()))
    return parts, whole


def test_a_slice_is_found_that_moves_the_whole_less_than_a_day_does():
    parts, whole = slices_of(np.random.default_rng(0), "abcdefghij", "d", 120, 0.15)
    found = watch_slices(parts, whole, RISK, REFERENCE)
    assert [one.slice for one in found] == ["d"]
    assert 120 <= found[0].alarms[0] <= 150
    assert abs(found[0].episode.first - 120) <= 2
    assert abs(found[0].rise - 0.15) < 4 * found[0].error
    assert found[0].rows_share == 0.1


def test_false_pages_of_all_slices_stay_within_their_share_of_the_budget():
    years = 15 * (BLOCKS - REFERENCE) / 365.25
    pages = 0
    for seed in range(15):
        parts, whole = slices_of(np.random.default_rng([7, seed]), "abcdefghij")
        pages += sum(len(one.alarms) for one in watch_slices(parts, whole, RISK, REFERENCE))
    assert pages <= BUDGET_SHARE * years + 3 * np.sqrt(BUDGET_SHARE * years)


def test_too_small_a_slice_is_not_watched():
    parts, whole = slices_of(np.random.default_rng(1), "ab", "a", 120, 2.0)
    tiny = {"a": SliceBlocks(np.full(BLOCKS, 0.5), parts["a"].loss / ROWS * 0.5), "b": parts["b"]}
    assert [one.slice for one in watch_slices(tiny, whole, RISK, REFERENCE)] == []
