import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from loopline.errors import InvalidInput
from loopline.evaluation.intervals import by_slice, holm, mean_by_block, of_block_sums, paired_by_block


def clustered(seed, days=40, effect=0.0):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 200, days)
    blocks = np.repeat(np.arange(days), sizes)
    shared = rng.normal(0, 0.1, days)[blocks]
    b = rng.random(len(blocks))
    return b + effect + shared + rng.normal(0, 0.2, len(blocks)), b, blocks


def test_one_row_a_block_is_the_paired_t_test():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.1, 1, 30), rng.normal(0, 1, 30)
    got = paired_by_block(a, b, np.arange(30), 0.9)
    low, high = stats.ttest_rel(a, b).confidence_interval(0.9)
    assert (got.lower, got.upper) == (pytest.approx(low), pytest.approx(high))
    assert got.p_above() == pytest.approx(stats.ttest_rel(a, b, alternative="greater").pvalue)


def test_the_sandwich_written_out():
    a, b, blocks = clustered(1)
    d, groups = a - b, np.unique(blocks)
    meat = sum((d[blocks == g] - d.mean()).sum() ** 2 for g in groups)
    got = paired_by_block(a, b, blocks)
    assert got.error == pytest.approx(math.sqrt(len(groups) / (len(groups) - 1) * meat) / len(d))
    assert (got.mean, got.blocks, got.rows) == (pytest.approx(d.mean()), 40, len(d))


def test_the_interval_covers_with_dependent_rows_and_the_naive_one_does_not():
    covered = naive = 0
    for seed in range(300):
        a, b, blocks = clustered(seed)
        got = paired_by_block(a, b, blocks)
        covered += got.lower <= 0 <= got.upper
        low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
        naive += low <= 0 <= high
    assert covered >= 0.91 * 300
    assert naive < 0.6 * 300


def test_one_block_says_nothing_of_spread():
    got = paired_by_block([1.0, 2.0], [0.0, 0.0], ["mon", "mon"])
    assert (got.mean, got.lower, got.upper) == (1.5, -math.inf, math.inf)
    assert got.p_above() == 1.0


def test_identical_models_do_not_differ():
    got = paired_by_block([0.5, 0.2, 0.1], [0.5, 0.2, 0.1], [1, 2, 3])
    assert (got.mean, got.lower, got.upper, got.p_above()) == (0, 0, 0, 1.0)


def test_a_worse_slice_is_found_among_harmless_ones():
    a, b, blocks = clustered(5)
    part = np.arange(len(a)) % 10
    a = a + 0.3 * (part == 7)
    slices = {f"part={i}": part == i for i in range(10)} | {"empty": part > 99}
    got = by_slice(a, b, blocks, slices)
    assert [one.name for one in got] == [f"part={i}" for i in range(10)]
    assert [one.name for one in got if one.p_adjusted <= 0.05] == ["part=7"]
    alone = paired_by_block(a[part == 7], b[part == 7], blocks[part == 7])
    assert got[7].interval == alone
    assert by_slice(a, b, blocks, slices, margin=1.0)[7].p_adjusted == 1.0


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1))
def test_holm_rejects_what_its_steps_reject(p, alpha):
    rejected, order = set(), sorted(range(len(p)), key=lambda i: p[i])
    for rank, index in enumerate(order):
        if (len(p) - rank) * p[index] > alpha:
            break
        rejected.add(index)
    assert {i for i, adjusted in enumerate(holm(p)) if adjusted <= alpha} == rejected or alpha == 1


@pytest.mark.parametrize(("x", "blocks"), [([], []), ([1.0], [1, 2]), ([np.nan, 1.0], [1, 2])])
def test_bad_rows_are_refused(x, blocks):
    with pytest.raises(InvalidInput):
        mean_by_block(x, blocks)


def test_sums_of_blocks_give_the_interval_of_their_rows():
    values, _, blocks = clustered(11)
    sums, counts = np.bincount(blocks, weights=values), np.bincount(blocks)
    from_rows, from_sums = mean_by_block(values, blocks), of_block_sums(sums, counts)
    assert (from_sums.mean, from_sums.lower, from_sums.upper, from_sums.rows, from_sums.blocks) == pytest.approx(
        (from_rows.mean, from_rows.lower, from_rows.upper, from_rows.rows, from_rows.blocks)
    )
    assert of_block_sums([3.0], [2]).upper == math.inf
    with pytest.raises(InvalidInput):
        of_block_sums([0.0], [0])
