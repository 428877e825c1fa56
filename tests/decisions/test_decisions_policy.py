import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from loopline.decisions.policy import Decision, costs, fit
from loopline.errors import InvalidInput

prices = st.floats(0.01, 100)
scores = hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 1))


def expected_costs(decision, p):
    return {
        "positive": decision.false_positive * (1 - p),
        "negative": decision.false_negative * p,
        "abstain": decision.review,
    }


def test_a_review_costs_half_of_the_cheaper_mistake():
    assert costs(1, 4).review == 0.5
    assert costs(3, 2, review=0.1).review == 0.1


def test_without_abstaining_the_cheaper_action_is_taken_at_every_score():
    decision = fit(costs(1, 4), np.array([]))
    assert decision.threshold == pytest.approx(0.2)
    for p in np.linspace(0, 1, 999):
        price = expected_costs(decision, p)
        best = "positive" if price["positive"] <= price["negative"] else "negative"
        if abs(p - 0.2) > 1e-9:
            assert decision.decide([p])[0] == best


def test_with_room_to_abstain_the_cheapest_of_all_three_is_taken():
    decision = fit(costs(1, 4, abstain_at_most=1.0), np.linspace(0, 1, 11))
    assert (decision.abstain_low, decision.abstain_high) == (pytest.approx(0.125), pytest.approx(0.5))
    for p in np.linspace(0.0005, 0.9995, 997):
        price = expected_costs(decision, p)
        assert price[decision.decide([p])[0]] == pytest.approx(min(price.values()))


def test_a_review_dearer_than_either_action_is_never_asked_for():
    decision = fit(costs(1, 1, review=0.6, abstain_at_most=0.5), np.linspace(0, 1, 101))
    assert decision.abstain_low == decision.abstain_high == decision.threshold


def test_the_rows_that_abstain_are_those_that_gain_most():
    reference = np.random.default_rng(1).beta(2, 5, 1000)
    decision = fit(costs(1, 4, abstain_at_most=0.05), reference)
    unsure = decision.decide(reference) == "abstain"
    price = np.minimum(1 - reference, 4 * reference)
    assert unsure.sum() == 50
    assert set(np.flatnonzero(unsure)) == set(np.argsort(price)[-50:])


@settings(deadline=None)
@given(prices, prices, st.floats(0, 1), scores)
def test_never_more_than_the_declared_share_of_the_reference_abstains(fp, fn, share, reference):
    decision = fit(costs(fp, fn, abstain_at_most=share), reference)
    assert (decision.decide(reference) == "abstain").sum() <= share * len(reference)
    assert 0 <= decision.abstain_low <= decision.threshold <= decision.abstain_high <= 1


@settings(deadline=None)
@given(prices, prices, st.floats(0, 1), scores)
def test_scores_are_decided_without_numpy_as_with_it(fp, fn, share, reference):
    decision = fit(costs(fp, fn, abstain_at_most=share), reference)
    asked = np.concatenate([reference, [decision.threshold, decision.abstain_low, decision.abstain_high, np.nan]])
    assert decision.decide(asked).tolist() == decision.decide_each(asked)


def test_scores_of_32_bits_are_compared_in_64():
    decision = Decision(1, 9, 0.5, 0.1, 0.1, 0.1)
    just_above = np.array([0.1], dtype=np.float32)
    assert decision.decide(just_above).tolist() == ["positive"] == decision.decide_each(just_above)


def test_cost_per_row():
    decision = fit(costs(1, 4), np.array([]))
    taken = ["positive", "positive", "negative", "negative", "abstain", "abstain", "negative"]
    paid = decision.cost(taken, [1, 0, 1, 0, 1, np.nan, np.nan])
    np.testing.assert_array_equal(paid, [0, 1, 4, 0, 0.5, 0.5, np.nan])


def test_json_brings_a_decision_back():
    decision = fit(costs(1, 4, abstain_at_most=0.2), np.linspace(0, 1, 50))
    assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision) == decision


@pytest.mark.parametrize(
    "wrong", [(0, 1), (1, -1), (1, 1, -0.1), (1, 1, 0.5, 1.2), (float("nan"), 1), (float("inf"), 1)]
)
def test_costs_that_decide_nothing_are_refused(wrong):
    with pytest.raises(InvalidInput, match=r"decision\.costs"):
        costs(*wrong)


def test_bad_rows_are_refused():
    with pytest.raises(InvalidInput, match=r"decision\.scores"):
        fit(costs(1, 1), [0.2, np.nan])
    with pytest.raises(InvalidInput, match=r"decision\.no_scores"):
        fit(costs(1, 1, abstain_at_most=0.1), [])
    with pytest.raises(InvalidInput, match=r"decision\.unknown"):
        fit(costs(1, 1), [0.2]).cost(["maybe"], [1])
