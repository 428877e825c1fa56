"""Exploration: its draws are those its propensities say, follow from ids alone, and keep their bounds."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.decisions.exploration import choose, explore, pool, propensity
from loopline.errors import InvalidInput

BOTH = ("positive", "negative")


@settings(deadline=None)
@given(
    st.floats(0.001, 0.5),
    st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True),
    st.sampled_from(["a", "b", "c", "d"]),
)
def test_the_propensities_of_all_actions_add_up_to_one(share, drawn, decided):
    total = sum(propensity(share, drawn, decided, action) for action in ("a", "b", "c", "d"))
    assert total == pytest.approx(1)


@pytest.mark.parametrize(
    ("drawn", "decided"), [(("positive",), "negative"), (BOTH, "negative"), (("negative",), "negative")]
)
def test_actions_come_as_often_as_their_propensity_says(drawn, decided):
    chosen = [choose(0.2, drawn, decided, f"pr_{number}") for number in range(20_000)]
    counts = Counter(one.action for one in chosen)
    for action in BOTH:
        p = propensity(0.2, drawn, decided, action)
        assert counts[action] / 20_000 == pytest.approx(p, abs=5 * (p * (1 - p) / 20_000) ** 0.5)
    assert all(one.propensity == propensity(0.2, drawn, decided, one.action) for one in chosen)


def test_the_inverse_propensities_of_the_log_give_every_action_its_weight():
    """What they are for: weighted by them, the log is as if each action had been taken on every row."""
    chosen = [choose(0.3, BOTH, "negative", f"pr_{number}") for number in range(50_000)]
    for action in BOTH:
        weights = np.array([(one.action == action) / one.propensity for one in chosen])
        assert weights.mean() == pytest.approx(1, abs=5 * weights.std() / 50_000**0.5)


@given(st.text(max_size=20))
def test_the_same_id_always_draws_the_same(prediction_id):
    first = choose(0.5, BOTH, "positive", prediction_id)
    assert choose(0.5, BOTH, "positive", prediction_id) == first


def test_without_anything_to_draw_the_decision_is_certain():
    assert choose(0.5, (), "positive", "pr_1").propensity == 1.0
    assert pool(explore(0.1), "positive", ("positive",)) == ()


def test_the_opposite_is_what_was_not_decided():
    assert pool(explore(0.1), "positive", BOTH) == ("negative",)
    assert pool(explore(0.1), "b", ("a", "b", "c")) == ("a", "c")
    assert pool(explore(0.1, ["negative"]), "negative", BOTH) == ("negative",)


def test_what_would_cost_too_much_is_not_drawn():
    extra = {"a": 0.0, "b": 0.4, "c": 2.0}.__getitem__
    assert pool(explore(0.1, at_most_cost=1), "a", ("a", "b", "c"), extra) == ("b",)
    assert pool(explore(0.1, at_most_cost=0.1), "a", ("a", "b", "c"), extra) == ()
    assert pool(explore(0.1), "a", ("a", "b", "c"), extra) == ("b", "c")


@pytest.mark.parametrize(
    "terms",
    [
        {"share": 0},
        {"share": 0.6},
        {"share": float("nan")},
        {"share": 0.1, "actions": ["a", "a"]},
        {"share": 0.1, "actions": ["abstain"]},
        {"share": 0.1, "at_most_per_day": -1},
        {"share": 0.1, "at_most_cost": -0.1},
        {"share": 0.1, "at_most_cost": float("nan")},
    ],
)
def test_terms_that_explore_nothing_are_refused(terms):
    with pytest.raises(InvalidInput):
        explore(**terms)
