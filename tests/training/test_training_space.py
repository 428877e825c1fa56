import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loopline as ll
from loopline.errors import InvalidInput
from loopline.runs.searches import Trial
from loopline.training.sampler import importance, propose
from loopline.training.search_spec import SearchSpec
from loopline.training.space import with_middles

SPACE = {
    "rate": ll.loguniform(0.001, 1.0),
    "leaves": ll.integer(2, 100, log=True),
    "depth": ll.integer(1, 6),
    "l2": ll.uniform(-1, 3),
    "kind": ll.choice("a", "b", None, 7, 2.5),
}


def test_middles_fill_what_is_not_declared():
    assert with_middles(SPACE, {"l2": 7, "other": "x"}) == {
        "rate": pytest.approx(math.sqrt(0.001)),
        "leaves": 14,
        "depth": 3,
        "l2": 7,
        "kind": "a",
        "other": "x",
    }


def finished(asked, number, state="complete"):
    scores = (asked["rate"], asked["l2"] / 3) if state == "complete" else ()
    return Trial(number, state, asked, scores)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(0, 12))
def test_what_is_proposed_lies_in_the_space_and_depends_on_what_finished_alone(seed, count):
    done: list[Trial] = []
    for number in range(count + 1):
        asked = propose(SPACE, done, seed=seed)
        assert asked == propose(SPACE, list(done), seed=seed)
        assert 0.001 <= asked["rate"] <= 1.0
        assert -1 <= asked["l2"] <= 3
        assert {type(asked[name]) for name in ("leaves", "depth")} == {int}
        assert 2 <= asked["leaves"] <= 100
        assert asked["kind"] in ("a", "b", None, 7, 2.5)
        done.append(finished(asked, number, "failed" if number % 4 == 3 else "complete"))


def test_another_seed_asks_for_something_else():
    assert len({propose(SPACE, [], seed=seed)["rate"] for seed in range(5)}) == 5


def test_nothing_is_asked_twice_and_a_small_space_comes_to_an_end():
    space = {"kind": ll.choice("a", "b"), "depth": ll.integer(1, 3)}
    done: list[Trial] = []
    while (asked := propose(space, done, seed=3)) is not None:
        assert asked not in [trial.params for trial in done]
        done.append(Trial(len(done), "complete", asked, (float(asked["depth"]), 1.0)))
    assert len(done) == 6


def test_the_sampler_learns_where_it_is_better():
    done: list[Trial] = []
    for number in range(40):
        asked = propose({"x": ll.uniform(0, 1)}, done, seed=1)
        done.append(Trial(number, "complete", asked, ((asked["x"] - 0.3) ** 2, (asked["x"] - 0.3) ** 2)))
    late = [abs(trial.params["x"] - 0.3) for trial in done[20:]]
    assert sum(late) / len(late) < 0.15, "by chance it would be 0.29"


def test_the_sampler_keeps_away_from_what_fails():
    done: list[Trial] = []
    space = {"kind": ll.choice("good", "bad"), "x": ll.uniform(0, 1)}
    for number in range(40):
        asked = propose(space, done, seed=2)
        state = "failed" if asked["kind"] == "bad" else "complete"
        done.append(Trial(number, state, asked, (asked["x"],) if state == "complete" else ()))
    assert sum(trial.state == "failed" for trial in done[12:]) < 28 * 0.25


def test_declared_parameters_outside_of_the_space_do_not_mislead_the_sampler():
    outside = Trial(0, "complete", {"x": 9.0, "fixed": 1}, (0.0, 0.0))
    assert 0 <= propose({"x": ll.uniform(0, 1)}, [outside], seed=1)["x"] <= 1


def test_importance_finds_the_parameter_that_matters():
    done: list[Trial] = []
    for number in range(25):
        asked = propose({"x": ll.uniform(0, 1), "y": ll.uniform(0, 1)}, done, seed=4)
        loss = asked["x"] + 0.05 * asked["y"]
        done.append(Trial(number, "complete", asked, (loss, loss)))
    found = importance({"x": ll.uniform(0, 1), "y": ll.uniform(0, 1)}, done, seed=1)
    assert next(iter(found)) == "x"
    assert found["x"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    assert importance({"x": ll.uniform(0, 1)}, done[:3], seed=1) == {}


@pytest.mark.parametrize(
    ("code", "make"),
    [
        ("search.empty_range", lambda: ll.uniform(1, 1)),
        ("search.empty_range", lambda: ll.uniform(2, 1)),
        ("search.empty_range", lambda: ll.uniform(0, math.inf)),
        ("search.empty_range", lambda: ll.loguniform("a", 1)),
        ("search.empty_range", lambda: ll.uniform(math.nan, 1)),
        ("search.no_logarithm", lambda: ll.loguniform(0, 1)),
        ("search.no_logarithm", lambda: ll.integer(0, 9, log=True)),
        ("search.not_whole", lambda: ll.integer(0.5, 3)),
        ("search.no_choice", lambda: ll.choice("a")),
        ("search.no_choice", lambda: ll.choice("a", "a")),
        ("search.no_choice", lambda: ll.choice([1], [2])),
        ("search.no_space", lambda: SearchSpec({})),
        ("search.no_space", lambda: SearchSpec({"x": 3})),
        ("search.no_trials", lambda: SearchSpec({"x": ll.uniform(0, 1)}, 0)),
        ("duration.unreadable", lambda: SearchSpec({"x": ll.uniform(0, 1)}, timeout="soon")),
    ],
)
def test_what_cannot_be_searched_is_refused(code, make):
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.code == code
    assert caught.value.remedy
