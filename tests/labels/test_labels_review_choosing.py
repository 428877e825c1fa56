"""What is chosen for review: all that abstained, of the rest a share that is known, and the same whenever it is drawn."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.decisions.choice import choice_costs
from loopline.decisions.decision import NoDecision
from loopline.decisions.policy import costs, fit
from loopline.errors import InvalidInput
from loopline.evaluation.kind import BINARY, Output
from loopline.labels.review.choosing import chosen, inclusion, priced
from loopline.labels.review.terms import review

DECISION = fit(costs(false_positive=1, false_negative=4, review=0.1, abstain_at_most=0.5), np.linspace(0, 1, 1001))


def rows(scores: np.ndarray) -> pl.DataFrame:
    ids = [f"pr_{number}" for number in range(len(scores))]
    return pl.DataFrame({"prediction_id": ids, "score": scores, "decision": DECISION.decide(scores)})


def test_all_that_abstained_and_a_share_of_the_rest_as_large_as_was_said():
    given_rows = rows(np.random.default_rng(1).uniform(size=40_000))
    found = chosen(given_rows, review(0.02), DECISION, BINARY, seed=7)
    abstained = given_rows.filter(pl.col("decision") == "abstain")
    assert abstained.height > 4000
    assert set(abstained["prediction_id"]) == set(found.filter(pl.col("reason") == "abstained")["prediction_id"])
    assert (found.filter(pl.col("reason") == "abstained")["propensity"] == 1.0).all()
    others = given_rows.filter(pl.col("decision") != "abstain")
    cheapest = np.minimum(1 - others["score"].to_numpy(), 4 * others["score"].to_numpy())
    expected = 0.02 * (1 + 4 * cheapest / 0.8)  # the costliest decision there is: at a threshold of 0.2, 0.8
    sampled = found.filter(pl.col("reason") == "sampled")
    assert sampled.height == pytest.approx(expected.sum(), abs=4 * np.sqrt(expected.sum()))
    assert (1 / sampled["propensity"]).sum() == pytest.approx(others.height, rel=0.15)
    assert chosen(given_rows, review(0.02), DECISION, BINARY, seed=7).equals(found)
    assert not chosen(given_rows, review(0.02), DECISION, BINARY, seed=8).equals(found)


def test_what_is_drawn_of_a_row_does_not_depend_on_the_others():
    given_rows = rows(np.random.default_rng(2).uniform(size=2000))
    whole = chosen(given_rows, review(0.1), DECISION, BINARY, seed=3)
    parts = [chosen(part, review(0.1), DECISION, BINARY, seed=3) for part in (given_rows[:700], given_rows[700:])]
    assert pl.concat(parts).equals(whole)


@given(st.floats(0, 1), st.floats(1, 50), st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=1))
def test_the_probability_lies_between_the_share_and_so_many_times_it(share, times, uncertainty):
    p = inclusion(review(share, uncertain=times), uncertainty)
    assert (p >= share - 1e-12).all()
    assert (p <= min(1.0, share * times) + 1e-12).all()


def test_the_price_is_that_of_the_better_decision():
    cost, share = priced(np.array([0.0, 0.2, 0.6, np.nan]), DECISION, BINARY)
    assert cost.tolist() == pytest.approx([0.0, 0.8, 0.4, 0.8])
    assert share.tolist() == pytest.approx([0.0, 1.0, 0.5, 1.0])
    three = Output("multiclass", ("a", "b", "c"))
    decision = choice_costs({("a", "b"): 10.0}).fit([[1 / 3] * 3], three.classes)
    probabilities = np.array([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25]])
    assert priced(probabilities, decision, three)[0].tolist() == pytest.approx([0.0, 0.5])
    assert priced(probabilities, NoDecision(), three)[1].tolist() == pytest.approx([0.0, 0.75])
    assert priced(np.array([3.0]), None, Output("regression"))[1].tolist() == [0.0]


@pytest.mark.parametrize(
    "terms",
    [{"share": -0.1}, {"share": 1.1}, {"share": float("nan")}, {"uncertain": 0.5}, {"lease": "0s"}, {"expires": "0s"}, {"most_weight": 0}],
)  # fmt: skip
def test_terms_that_mean_nothing_are_refused(terms):
    with pytest.raises(InvalidInput):
        review(**terms)
