import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.evidence.e_bh import rejected


@given(st.lists(st.floats(-3, 8), max_size=6), st.floats(0.01, 0.5))
def test_it_rejects_the_largest_set_in_which_each_is_large_enough(log_e, alpha):
    """Another implementation: all sets, in place of a sort."""
    n = len(log_e)
    sets = [found for size in range(n + 1) for found in combinations(range(n), size)]
    sound = [one for one in sets if all(log_e[place] >= math.log(n / (alpha * len(one))) for place in one)]
    assert len(rejected(log_e, alpha)) == max(len(one) for one in sound)
    assert tuple(rejected(log_e, alpha)) in sound


def test_the_share_of_false_discoveries_is_bounded_however_slices_depend_on_each_other():
    """Ninety sound slices and ten harmed ones; a day's own swing is common to all of them."""
    rng = np.random.default_rng(6)
    shares, found = [], []
    for _ in range(300):
        common = rng.normal()
        x = 0.7 * common + math.sqrt(0.51) * rng.normal(size=100)
        x[:10] += 4.0
        log_e = 3.0 * x - 4.5  # the likelihood ratio of a mean of 3
        got = rejected(log_e.tolist(), 0.1)
        shares.append(sum(place >= 10 for place in got) / max(len(got), 1))
        found.append(sum(place < 10 for place in got))
    assert np.mean(shares) <= 0.1 + 3 * np.std(shares) / math.sqrt(300)
    assert np.mean(found) > 6


def test_alpha_is_a_probability():
    assert rejected([], 0.1) == []
    with pytest.raises(InvalidInput):
        rejected([1.0], 1.0)
