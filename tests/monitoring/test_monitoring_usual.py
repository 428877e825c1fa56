import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.monitoring.moved import Moved, Size, sized, told
from loopline.monitoring.usual import SAMPLE, Earlier, Sample, Sums, carry_of

NUMBERS = st.lists(st.floats(-1e6, 1e6).map(lambda one: round(one, 3)), min_size=3, max_size=60)


@given(NUMBERS)
def test_sums_are_the_moments_of_the_values(values):
    x, sums = np.array(values), Sums().plus_all(values)
    assert sums.mean == pytest.approx(x.mean(), abs=1e-6)
    assert sums.variance == pytest.approx(x.var(ddof=1), rel=1e-6, abs=1e-3)
    assert sums.step == pytest.approx(np.diff(x).mean(), abs=1e-6)
    assert sums.step_variance == pytest.approx(np.diff(x).var(ddof=1), rel=1e-6, abs=1e-3)
    if x.std() > 1:
        d = x - x.mean()
        assert sums.autocorrelation == pytest.approx((d[1:] * d[:-1]).sum() / (d**2).sum(), abs=1e-6)


def test_a_full_sample_drops_one_of_all_by_chance():
    sample = Sample([(0.0, float(place)) for place in range(SAMPLE)])
    sample.add(0.0, -1.0, 0.0)
    assert sample.pairs == ((0.0, -1.0), *((0.0, float(place)) for place in range(1, SAMPLE)))
    before = sample.pairs
    sample.add(0.0, -2.0, 1 - 1e-9)
    assert sample.pairs == before


def test_the_place_among_equals_is_left_to_chance():
    sample = Sample([(0.0, one) for one in (1.0, 2.0, 2.0, 2.0, 3.0)])
    assert [sample.position(9.0, 2.0, 0.0, chance) for chance in (0.0, 0.3, 0.99)] == [1, 2, 4]
    assert sample.position(4.0, 4.5, 0.5, 0.0) == 4


def test_what_is_carried_over_is_learnt_rather_too_high():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=400)
    half = [0.0]
    for one in noise:
        half.append(0.5 * half[-1] + one)
    assert carry_of(Sums().plus_all(noise.tolist()), Earlier()) == 0.0
    assert 0.5 <= carry_of(Sums().plus_all(half), Earlier()) < 0.65
    assert carry_of(Sums().plus_all(np.cumsum(noise).tolist()), Earlier()) == 1.0
    assert carry_of(Sums(), Earlier().with_more(Sums().plus_all(half))) > 0.5
    assert carry_of(Sums().plus_all([5.0] * 50), Earlier()) == 0.0


def test_sizes_are_those_of_a_t_test_and_of_f_and_cover():
    """In 19 of 20 worlds the interval holds the truth, about."""
    plain = Moved("higher", "level", 0, 0, 0, 0, 0.0, 1.0, 1.0)
    held = {"level": 0, "spread": 0}
    for seed in range(400):
        rng = np.random.default_rng(seed)
        before, after = rng.normal(0, 1, 50), rng.normal(1, 1, 12)
        found = sized(plain, Sums().plus_all(before.tolist()), after.tolist())
        assert found.level.value == pytest.approx(after.mean() - before.mean())
        assert found.spread.value == pytest.approx(after.std(ddof=1) / before.std(ddof=1))
        held["level"] += not found.level.clear_of(1.0)
        held["spread"] += not found.spread.clear_of(1.0)
    assert all(370 <= count <= 392 for count in held.values()), held


def test_the_sentence_leads_with_what_is_clear():
    narrow, wide = Size(3.0, 2.0, 4.0), Size(1.1, 0.8, 1.5)
    moved = Moved("higher", "level", 9, 4, 3, 5, 0.0, 1.0, 1.0, 10.0, 13.0, 1.0, 1.1, 4, 6, narrow, wide)
    assert told(moved, "it", lambda at: f"t{at}") == (
        "Since about t4 (between t3 and t5) it lies at 13, where 10 was usual: 3 higher (2 to 4), over 6 values."
    )
    both = Moved("wider", "steps", 9, 4, 4, 4, 1.0, 1.0, 1.0, 0.0, 3.0, 1.0, 2.0, 4, 6, narrow, Size(2.0, 1.5, 2.5))
    assert told(both, "it", lambda at: f"t{at}", until=8) == (
        "Since about t4, until about t8, it spreads from step to step by 2, where 1 was usual: 2 times as much (1.5 to 2.5), and steps by 3, "
        "where 0 was usual: 3 higher (2 to 4), over 6 values."
    )
