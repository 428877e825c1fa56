"""What a training is expected to bring, and whether it pays."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.incidents.forecast import Forecast, Tried, expected_gain
from loopline.incidents.prices import Prices, prices

TRIED = st.builds(Tried, growth=st.floats(1.01, 5), gain=st.floats(-0.1, 0.1), error=st.floats(1e-4, 0.1))
ONE = Forecast("30d", 1.5, 2, 0.002, 0.001, 0.0, 1000.0, Prices(2.0, 100.0))


@given(st.lists(TRIED, min_size=1, max_size=6), st.floats(1.01, 4))
def test_the_gain_is_that_of_weighted_least_squares(tried, growth):
    x, y = np.log([one.growth for one in tried]), np.array([one.gain for one in tried])
    root = 1 / np.array([one.error for one in tried])
    [slope], *_ = np.linalg.lstsq((x * root)[:, None], y * root, rcond=None)
    gain, error, learnt_from = expected_gain(tried, growth)
    assert gain == pytest.approx(max(slope, 0) * math.log(growth), rel=1e-6, abs=1e-9)
    assert error == pytest.approx(math.log(growth) / np.sqrt(((x * root) ** 2).sum()), rel=1e-6)
    assert learnt_from == len(tried)


def test_what_tells_nothing_is_left_out():
    told = Tried(2.0, 0.01, 0.001)
    others = [Tried(1.0, 5.0, 0.001), Tried(2.0, 5.0, math.inf)]
    assert (
        expected_gain([told, *others], 2.0)
        == expected_gain([told], 2.0)
        == (pytest.approx(0.01), pytest.approx(0.001), 1)
    )
    assert expected_gain(others, 2.0) == (0.0, 0.0, 0)
    assert expected_gain([told], 1.0)[0] == 0.0


def test_it_pays_where_it_saves_more_than_it_costs():
    assert ONE.saving == pytest.approx(2.0 * 0.002 * 1000 * 30)
    assert ONE.pays
    dear = msgspec.structs.replace(ONE, prices=Prices(2.0, 121.0))
    assert not dear.pays
    risen = msgspec.structs.replace(dear, rise=0.003)
    assert risen.pays
    assert "risen 0.0030 beyond the promise" in risen.sentence
    assert ONE.sums()["saving"] == ONE.saving


@pytest.mark.parametrize(("growth", "pays"), [(1.99, False), (2.0, True)])
def test_where_nothing_is_known_it_is_tried_when_the_rows_have_doubled(growth, pays):
    unknown = msgspec.structs.replace(ONE, growth=growth, learnt_from=0, gain=0.0)
    assert unknown.pays is pays
    assert "not known yet" in unknown.sentence


def test_the_sentence_tells_the_sums():
    assert ONE.sentence == (
        "retraining is expected to save 120 over 30d, more than its cost of 100: 0.0020 ± 0.0010 less loss at 1.50 times the rows, "
        "as 2 earlier trainings tell, x 1000 predictions a day x 30 days x 2"
    )


@pytest.mark.parametrize(
    "given", [{"loss": 0, "retrain": 1}, {"loss": 1, "retrain": -1}, {"loss": math.inf, "retrain": 1}]
)
def test_prices_that_weigh_nothing_are_refused(given):
    with pytest.raises(InvalidInput) as caught:
        prices(**given)
    assert caught.value.code == "operate.prices"
    assert prices(loss=2, retrain=3, page=5).total(loss=0.5, rows=100, retrains=2, pages=1) == 100 + 6 + 5
