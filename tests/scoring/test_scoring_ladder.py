"""The ladder from the engine's side: rules, breakers, deadlines, and the order that is configured."""

from time import perf_counter

import msgspec
import pytest

from loopline.errors import Unavailable
from loopline.models.breaker_terms import BreakerTerms
from loopline.models.ladder_terms import LadderTerms, ladder
from loopline.models.rule import rule
from loopline.scoring.asked import Caller
from loopline.scoring.breaker import Breaker
from loopline.scoring.engine import Engine
from loopline.scoring.guarded import Guarded
from loopline.scoring.pace import Pace

RULE = rule([("distance > 1000 and carrier in ['UA', 'DL']", 0.9), ("dewpoint is None", 0.6)], otherwise=0.1)


def sent(rows):
    return [{**row, "departs": row["departs"].isoformat()} for row in rows.drop("delay_3h").to_dicts()]


def make(deployment, predictor, previous=None, *, clock, pace=None, **changes):
    served = msgspec.structs.replace(deployment, **changes)
    return Engine("flights", served, predictor, previous, clock=clock, instance="s:1", pace=pace)


def answers(engine, rows, **options):
    return [(one.variant, one.score, one.degraded) for one in engine.predict(rows, principal=None, **options)]


def test_a_rule_answers_row_by_row_where_no_model_can(deployment, scorer, rows, clock):
    champion = scorer()
    champion.fails = True
    engine = make(deployment, champion, clock=clock, rule=RULE)
    assert answers(engine, sent(rows)) == [
        ("rule", 0.6, ("model_unavailable", "rule:2")),
        ("rule", 0.9, ("model_unavailable", "rule:1")),
        ("rule", 0.1, ("model_unavailable", "rule:0")),
        ("rule", 0.1, ("model_unavailable", "rule:0")),
        ("rule", 0.1, ("model_unavailable", "rule:0")),
        ("rule", 0.9, ("model_unavailable", "rule:1")),
    ]
    frame = engine.predict_frame(rows, scored_at=clock.now())
    assert frame["score"].to_list() == [0.6, 0.9, 0.1, 0.1, 0.1, 0.9]
    assert frame["model_version"].to_list() == [0] * 6


@pytest.mark.parametrize("drops", [False, True])
def test_before_the_first_model_a_rule_sees_the_columns_it_looks_at(deployment, rows, clock, drops):
    engine = make(deployment, None, clock=clock, rule=RULE)
    given = sent(rows)
    if drops:
        given = [{name: value for name, value in row.items() if name != "dewpoint"} for row in given]
    found = [score for _, score, _ in answers(engine, [{**row, "more": [1]} for row in given])]
    assert found == ([0.6, 0.9, 0.6, 0.6, 0.6, 0.9] if drops else [0.6, 0.9, 0.1, 0.1, 0.1, 0.9])


@pytest.mark.parametrize(
    ("steps", "variants"),
    [
        (["previous", "rule", "constant"], ["champion", "previous", "rule"]),
        (["previous", "constant"], ["champion", "previous", "fallback"]),
        (["rule"], ["champion", "rule", "rule"]),
        (["constant"], ["champion", "fallback", "fallback"]),
        (["previous"], ["champion", "previous", None]),
        ([], ["champion", None, None]),
    ],
)
def test_who_steps_in_is_configured(deployment, scorer, rows, clock, steps, variants):
    champion, previous = scorer(), scorer()
    engine = make(deployment, champion, previous, clock=clock, rule=RULE, ladder=ladder(steps))
    one = sent(rows)[:1]
    for broken, variant in zip((None, champion, previous), variants, strict=True):
        if broken is not None:
            broken.fails = True
        if variant is not None:
            assert engine.predict(one, principal=None)[0].variant == variant
            continue
        with pytest.raises(Unavailable) as caught:
            engine.predict(one, principal=None)
        assert caught.value.code == "scoring.no_model"


def test_a_model_that_fails_is_left_alone_and_tried_again(deployment, scorer, rows, clock):
    now = [0.0]
    champion, calls = scorer(), []
    inner = champion.outputs
    champion.outputs = lambda matrix: (calls.append(1), inner(matrix))[1]
    breaker = Breaker(BreakerTerms(failures=2, wait_s=1.0, probes=2), "champion")
    engine = make(deployment, Guarded(champion, breaker, now=lambda: now[0]), scorer(), clock=clock)
    one = sent(rows)[:1]
    champion.fails = True
    found = [answers(engine, one)[0] for _ in range(4)]
    assert len(calls) == 2
    assert [variant for variant, _, _ in found] == ["previous"] * 4
    because = "feature_missing:delay_3h"
    assert [codes for _, _, codes in found] == [
        *[("model_unavailable", because)] * 2,
        *[("model_unavailable", "breaker_open:champion", because)] * 2,
    ]
    now[0], champion.fails = 1.0, False
    assert [answers(engine, one)[0][0] for _ in range(2)] == ["champion"] * 2
    assert breaker.state == "closed"


def test_where_a_model_would_take_too_long_what_is_below_it_answers(deployment, scorer, rows, clock):
    engine = make(deployment, scorer(), scorer(), clock=clock, pace=Pace(5.0, 0.0), ladder=LadderTerms(model=0.5))
    asked = engine.ask(sent(rows)[:1])
    began = perf_counter()
    short, long, none = (Caller(arrived=began, deadline=began + seconds) for seconds in (9.0, 60.0, 1e6))
    assert [engine.late(asked, caller) for caller in (short, long, none, Caller())] == [True, False, False, False]
    scored = engine.score(asked, late=True)
    (answer,) = engine.answer(asked, scored, short)
    assert (answer.variant, answer.score, answer.degraded) == ("fallback", 0.25, ("deadline:model",))
    bare = make(deployment, scorer(), clock=clock, pace=Pace(5.0, 0.0), ladder=LadderTerms(steps=("previous",)))
    assert not bare.late(asked, short)


def test_shares_of_a_deadline_are_counted_from_the_arrival():
    caller = Caller(arrived=100.0, deadline=110.0)
    assert (caller.by(0.3), caller.by(1.0)) == (103.0, 110.0)
    assert Caller(arrived=100.0).by(0.3) is None
