"""Exploration in the engine: seeded by ids, within bounds, never where an answer is not in full health."""

import threading
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest

from loopline.clock import ReplayClock
from loopline.decisions.exploration import explore
from loopline.scoring.engine import Engine
from loopline.scoring.exploration import DayBudget
from loopline.scoring.features import LookedUp

AT = datetime(2026, 5, 1, 10, tzinfo=UTC)


class Steady:
    """Looked-up features that are always there."""

    entities = ()

    def read(self, columns, _at, _until=None):
        return LookedUp({"delay_3h": [1.0] * columns.count})


def engine(deployment, predictor, clock, *, budget=None, **terms) -> Engine:
    exploring = msgspec.structs.replace(deployment, explore=explore(**terms) if terms else None)
    return Engine("flights", exploring, predictor, None, Steady(), clock=clock, instance="i", budget=budget)


def requests(count: int, distance: float = 100.0) -> list[dict]:
    row = {"departs": AT.isoformat(), "distance": distance, "carrier": "UA", "dewpoint": 1.0}
    return [{"flight_id": f"k{number}", **row} for number in range(count)]


def frame_of(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows).with_columns(
        pl.col("departs").str.to_datetime(time_zone="UTC", time_unit="us"), delay_3h=pl.lit(1.0)
    )


def test_a_share_takes_the_opposite_action_and_says_how_probable_it_was(deployment, scorer, clock):
    made = engine(deployment, scorer(), clock, share=0.2).predict(requests(2000), principal=None)
    assert {one.decision for one in made} == {"positive"}
    explored = [one for one in made if one.action == "negative"]
    assert len(explored) / 2000 == pytest.approx(0.2, abs=0.045)
    assert {one.propensity for one in explored} == {0.2}
    assert {one.propensity for one in made if one.action == "positive"} == {0.8}


def test_without_exploration_the_decision_is_the_action_and_certain(deployment, scorer, clock):
    made = engine(deployment, scorer(), clock).predict(requests(20), principal=None)
    assert all((one.action, one.propensity) == (one.decision, 1.0) for one in made)


def test_a_request_that_is_sent_again_gets_the_same_actions(deployment, scorer, clock):
    first = engine(deployment, scorer(), clock, share=0.5).predict(requests(200), principal="a", request_id="r1")
    again = engine(deployment, scorer(), clock, share=0.5).predict(requests(200)[::-1], principal="a", request_id="r1")
    assert {one.key: one.action for one in first} == {one.key: one.action for one in again}
    other = engine(deployment, scorer(), clock, share=0.5).predict(requests(200), principal="a", request_id="r2")
    assert [one.action for one in other] != [one.action for one in first]


def test_a_frame_explores_as_its_ids_say_in_whatever_order(deployment, scorer, clock):
    exploring = engine(deployment, scorer(), clock, share=0.3)
    frame = frame_of(requests(500))
    made, turned = (exploring.predict_frame(one, scored_at=AT) for one in (frame, frame.reverse()))
    assert (
        made.select("_key", "action", "propensity")
        .sort("_key")
        .equals(turned.select("_key", "action", "propensity").sort("_key"))
    )
    assert 0.2 < (made["action"] != made["decision"]).mean() < 0.4
    expected = pl.Series("propensity", [0.7 if same else 0.3 for same in made["action"] == made["decision"]])
    assert made["propensity"].equals(expected)


def test_what_abstains_is_degraded_or_falls_back_never_explores(deployment, scorer, clock):
    abstaining = msgspec.structs.replace(deployment, decision={**deployment.decision, "abstain_high": 0.99})
    made = engine(abstaining, scorer(), clock, share=0.5).predict(requests(100), principal=None)
    assert {(one.action, one.propensity) for one in made} == {("abstain", 1.0)}
    made = engine(deployment, scorer(), clock, share=0.5).predict(requests(100, distance=1e5), principal=None)
    assert {(one.degraded, one.action, one.propensity) for one in made} == {
        (("out_of_range:distance",), "positive", 1.0)
    }
    failing = scorer()
    failing.fails = True
    constant = msgspec.structs.replace(deployment, fallback=0.9)
    made = engine(constant, failing, clock, share=0.5).predict(requests(100), principal=None)
    assert {(one.variant, one.action, one.propensity) for one in made} == {("fallback", "positive", 1.0)}
    framed = engine(constant, failing, clock, share=0.5).predict_frame(frame_of(requests(100)), scored_at=AT)
    assert framed["propensity"].unique().to_list() == [1.0]


def test_a_random_accept_leaves_those_that_were_accepted_alone(deployment, scorer, clock):
    made = engine(deployment, scorer(), clock, share=0.3, actions=["positive"]).predict(requests(300), principal=None)
    assert {(one.action, one.propensity) for one in made} == {("positive", 1.0)}


def test_no_more_than_the_days_bound_is_explored_and_the_rest_is_certain(deployment, scorer, clock):
    exploring = engine(deployment, scorer(), clock, share=0.5, at_most_per_day=7)
    made = [one for _ in range(5) for one in exploring.predict(requests(100), principal=None)]
    explored = [place for place, one in enumerate(made) if one.action != one.decision]
    assert len(explored) == 7
    assert all(one.propensity == 1.0 for one in made[explored[-1] + 1 :])
    assert all(one.propensity == 0.5 for one in made[: explored[-1] + 1])
    clock.turn_to(clock.now() + timedelta(days=1))
    assert any(one.propensity == 0.5 for one in exploring.predict(requests(100), principal=None))


def test_a_bound_on_cost_keeps_dear_explorations_away(deployment, scorer, clock):
    """At a score of 0.53 the opposite costs 4 * 0.53 - 0.47 more."""
    for bound, propensities in ((1.0, {1.0}), (2.0, {0.5})):
        made = engine(deployment, scorer(), clock, share=0.5, at_most_cost=bound).predict(requests(50), principal=None)
        assert {one.propensity for one in made} == propensities


def test_what_was_explored_is_known_after_a_restart(tmp_path, deployment, scorer, clock):
    terms = {"share": 0.5, "at_most_per_day": 5}
    path = tmp_path / "explored" / "late.json"
    first = engine(deployment, scorer(), clock, budget=DayBudget(path), **terms)
    before = first.predict(requests(100), principal="a", request_id="r1")
    assert sum(one.action != one.decision for one in before) == 5
    restarted = engine(deployment, scorer(), clock, budget=DayBudget(path), **terms)
    again = restarted.predict(requests(100), principal="a", request_id="r1")
    assert [one.action for one in again] == [one.action for one in before]
    assert all(one.action == one.decision for one in restarted.predict(requests(100), principal="a", request_id="r2"))
    path.write_bytes(b"{torn")
    assert any(
        one.action != one.decision
        for one in engine(deployment, scorer(), clock, budget=DayBudget(path), **terms).predict(
            requests(50), principal=None
        )
    )


def test_threads_share_one_bound(deployment, scorer):
    exploring = engine(deployment, scorer(), ReplayClock(AT), share=0.5, at_most_per_day=20)
    made: list = []

    def ask() -> None:
        made.extend(exploring.predict(requests(100), principal=None))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.action != one.decision for one in made) == 20
