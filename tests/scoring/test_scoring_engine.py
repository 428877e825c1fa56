import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from loopline.errors import InvalidInput, Unavailable
from loopline.features.definitions import Aggregate, LatestView, View, WindowView
from loopline.models.signature import Field, Signature
from loopline.scoring.block_frame import prediction_frame
from loopline.scoring.engine import Engine
from loopline.scoring.features import LookedUp, OnlineReader
from loopline.scoring.record import prediction_schema

LOOKED_UP = "delay_3h"


class FrameFeatures:
    """Features from a frame, by key."""

    entities = ()

    def __init__(self, frame):
        self._found = dict(zip(frame["flight_id"], frame[LOOKED_UP], strict=True))

    def read(self, columns, _at, _until=None):
        return LookedUp({LOOKED_UP: [self._found[key] for key in columns["flight_id"]]})


def make(deployment, predictor, previous=None, features=None, *, clock, instance="spool:1"):
    return Engine("flights", deployment, predictor, previous, features, clock=clock, instance=instance)


def as_requests(frame):
    rows = frame.drop(LOOKED_UP).to_dicts()
    return [{**row, "departs": row["departs"].isoformat()} for row in rows]


@pytest.fixture
def engine(deployment, scorer, rows, clock):
    return make(deployment, scorer(), features=FrameFeatures(rows), clock=clock)


def test_a_prediction_holds_what_was_used_and_decided(engine, rows, clock):
    first = engine.predict(as_requests(rows), principal="gate")[0]
    score = 1 / (1 + math.exp(-1e-3 * (100.0 + 0 + 4.5)))
    assert first.score == pytest.approx(score, abs=1e-9)
    assert first.decision == "positive"
    assert (first.model_version, first.decision_version, first.variant) == (4, 2, "champion")
    assert (first.key, first.at, first.scored_at) == ("a", datetime(2026, 5, 1, 10, 30, tzinfo=UTC), clock.now())
    assert first.numbers == {"distance": 100.0, "dewpoint": None, "delay_3h": 4.5}
    assert first.categories == {"carrier": "UA"}
    assert (first.degraded, first.principal, first.endpoint) == ((), "gate", "late")


def test_what_is_odd_is_flagged_and_scored(engine, rows):
    degraded = [prediction.degraded for prediction in engine.predict(as_requests(rows), principal=None)]
    assert degraded == [
        (),
        ("out_of_range:distance",),
        ("unseen_category:carrier", "out_of_range:dewpoint", "feature_missing:delay_3h"),
        ("null_unseen:distance", "out_of_range:delay_3h"),
        ("out_of_range:distance", "null_unseen:carrier"),
        (),
    ]


def test_a_frame_and_its_rows_are_scored_alike(engine, rows, clock):
    by_frame = engine.predict_frame(rows, scored_at=clock.now())
    by_row = prediction_frame(engine.predict(as_requests(rows), principal=None).blocks)
    assert_frame_equal(by_frame.drop("prediction_id"), by_row.drop("prediction_id"), check_column_order=False)
    prediction_schema(engine.contract.signature).check(by_frame)


def test_ids_of_a_frame_follow_from_seed_key_and_time(engine, rows, clock):
    first = engine.predict_frame(rows, scored_at=clock.now(), seed=1)["prediction_id"]
    again = engine.predict_frame(rows.reverse(), scored_at=clock.now() + timedelta(1), seed=1)[
        "prediction_id"
    ].reverse()
    other = engine.predict_frame(rows, scored_at=clock.now(), seed=2)["prediction_id"]
    assert first.to_list() == again.to_list()
    assert not set(first) & set(other)
    assert first.n_unique() == rows.height


def test_an_empty_frame_gives_no_rows_of_the_right_schema(engine, rows, clock):
    nothing = engine.predict_frame(rows.clear(), scored_at=clock.now())
    assert nothing.height == 0
    prediction_schema(engine.contract.signature).check(nothing)
    assert engine.predict([], principal=None) == []


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda frame: frame.drop("flight_id"), "scoring.missing_column"),
        (lambda frame: frame.with_columns(flight_id=1), "scoring.bad_key"),
        (lambda frame: frame.with_columns(pl.col("departs").dt.replace_time_zone(None)), "scoring.bad_time"),
        (lambda frame: frame.with_columns(distance=pl.lit("far")), "signature.wrong_type"),
    ],
)
def test_a_wrong_frame_is_refused(engine, rows, clock, spoil, code):
    with pytest.raises(InvalidInput) as caught:
        engine.predict_frame(spoil(rows), scored_at=clock.now())
    assert caught.value.code == code


def test_a_request_id_gives_the_same_ids_again_and_none_gives_new_ones(engine, rows):
    requests = as_requests(rows)

    def ids(**options):
        return [prediction.prediction_id for prediction in engine.predict(requests, **options)]

    first = ids(principal="a", request_id="r1")
    assert ids(principal="a", request_id="r1") == first
    assert not set(ids(principal="a", request_id="r2")) & set(first)
    assert not set(ids(principal="b", request_id="r1")) & set(first)
    assert len(set(ids(principal="a")) | set(ids(principal="a"))) == 2 * len(requests)


def test_two_instances_never_share_an_id(deployment, scorer, rows, clock):
    engines = [
        make(deployment, scorer(), features=FrameFeatures(rows), clock=clock, instance=f"s:{n}") for n in range(3)
    ]
    ids = [p.prediction_id for engine in engines for p in engine.predict(as_requests(rows), principal=None)]
    assert len(set(ids)) == 3 * rows.height


def test_a_wrong_row_scores_nothing(deployment, scorer, rows, clock):
    predictor = scorer()
    predictor.scores = lambda _: pytest.fail("scored")
    engine = make(deployment, predictor, features=FrameFeatures(rows), clock=clock)
    with pytest.raises(InvalidInput):
        engine.predict([*as_requests(rows), {}], principal=None)


def test_the_ladder_goes_down_rung_by_rung(deployment, scorer, rows, clock):
    champion, previous = scorer(), scorer(weight=-1e-3)
    engine = make(deployment, champion, previous, FrameFeatures(rows), clock=clock)
    one = as_requests(rows)[:1]

    assert engine.predict(one, principal=None)[0].variant == "champion"
    champion.fails = True
    second = engine.predict(one, principal=None)[0]
    assert (second.variant, second.model_version, second.degraded) == ("previous", 3, ("model_unavailable",))
    assert second.score == pytest.approx(1 / (1 + math.exp(1e-3 * 104.5)), abs=1e-9)
    previous.fails = True
    third = engine.predict(one, principal=None)[0]
    assert (third.variant, third.model_version, third.score) == ("fallback", 0, 0.25)
    assert (third.decision, third.degraded) == ("abstain", ("model_unavailable",))
    champion.fails = False
    assert engine.predict(one, principal=None)[0].variant == "champion"


def test_the_frame_path_has_the_same_ladder(deployment, scorer, rows, clock):
    engine = make(deployment, None, None, clock=clock)
    frame = engine.predict_frame(rows, scored_at=clock.now())
    assert frame["score"].to_list() == [0.25] * rows.height
    assert frame["variant"].unique().to_list() == ["fallback"]
    assert frame["degraded"].to_list() == [["model_unavailable"]] * rows.height


def test_the_previous_model_may_take_other_columns(deployment, scorer, rows, clock):
    fields = (
        Field(name="distance", kind="number", given=True, minimum=0.0, maximum=1e4),
        Field(name="retired", kind="number", given=True, minimum=0.0, maximum=1.0),
    )
    champion, previous = scorer(), scorer(Signature(fields=fields))
    champion.fails = True
    engine = make(deployment, champion, previous, FrameFeatures(rows), clock=clock)
    answer = engine.predict(as_requests(rows)[:1], principal=None)[0]
    assert (answer.variant, answer.degraded) == ("previous", ("model_unavailable", "null_unseen:retired"))
    assert answer.numbers == {"distance": 100.0, "retired": None}


def test_no_rung_left_is_unavailable(deployment, scorer, clock):
    bare = msgspec.structs.replace(deployment, fallback=None, previous=None)
    engine = make(bare, None, clock=clock)
    assert not engine.ready
    with pytest.raises(Unavailable) as caught:
        engine.predict([{"flight_id": "a", "departs": 0}], principal=None)
    assert caught.value.code == "scoring.no_model"


def test_a_score_that_is_no_number_is_a_failure(deployment, scorer, rows, clock):
    champion = scorer()
    champion.outputs = lambda matrix: np.full(len(matrix), np.nan)
    engine = make(deployment, champion, None, FrameFeatures(rows), clock=clock)
    assert engine.predict(as_requests(rows)[:1], principal=None)[0].variant == "fallback"


@dataclass
class Store:
    """An online store that answers from a dict, or not at all."""

    values: dict
    known: datetime | None
    fails: bool = False

    def read(self, views, rows, _at):
        if self.fails:
            raise OSError("no store")
        return {name: [self.values.get(row["carrier"]) for row in rows] for view in views for name in view.features}

    def freshness(self, _view):
        return self.known


DELAYS = WindowView(
    table="arrivals",
    by="carrier",
    features={LOOKED_UP: Aggregate(op="mean", column="delay", over="3h")},
)


def online(store, views: list[View] | None = None):
    return OnlineReader(lambda: store, views or [DELAYS])


def test_features_are_looked_up_and_gaps_are_flagged(deployment, scorer, rows, clock):
    store = Store({"UA": 4.5}, known=datetime(2026, 5, 1, 15, tzinfo=UTC))
    engine = make(deployment, scorer(), features=online(store), clock=clock)
    answers = engine.predict(as_requests(rows)[:2], principal=None)
    assert [answer.numbers[LOOKED_UP] for answer in answers] == [4.5, None]
    assert answers[0].degraded == ()
    assert answers[1].degraded == ("out_of_range:distance", "feature_missing:delay_3h")


def test_a_store_that_does_not_answer_degrades_and_recovers(deployment, scorer, rows, clock):
    store = Store({"UA": 4.5}, known=datetime(2026, 5, 1, 15, tzinfo=UTC), fails=True)
    engine = make(deployment, scorer(), features=online(store), clock=clock)
    one = as_requests(rows)[:1]
    answer = engine.predict(one, principal=None)[0]
    assert (answer.variant, answer.degraded) == ("champion", ("feature_missing:delay_3h",))
    store.fails = False
    assert engine.predict(one, principal=None)[0].degraded == ()


def test_a_store_that_catches_up_is_no_longer_stale(deployment, scorer, rows, clock):
    at = rows["departs"][0]
    store = Store({"UA": 4.5}, known=at - timedelta(hours=9))
    engine = make(deployment, scorer(), features=online(store), clock=clock)
    degraded = []
    for known in (9, 2, 2):
        store.known = at - timedelta(hours=known)
        degraded.append(engine.predict(as_requests(rows)[:1], principal=None)[0].degraded)
    assert degraded == [("feature_stale:arrivals",), (), ()]


@pytest.mark.parametrize(
    ("view", "known", "stale"),
    [
        (DELAYS, timedelta(hours=-3), True),
        (DELAYS, timedelta(hours=-3, microseconds=1), False),
        (DELAYS, None, True),
        (
            LatestView(table="arrivals", by="carrier", features={LOOKED_UP: "delay"}, max_age="1h"),
            timedelta(hours=-2),
            True,
        ),
        (LatestView(table="arrivals", by="carrier", features={LOOKED_UP: "delay"}), timedelta(days=-9), False),
    ],
)
def test_stale_is_when_no_entity_can_have_a_value_left(deployment, scorer, rows, clock, view, known, stale):
    at = rows["departs"][0]
    store = Store({"UA": 4.5}, known=None if known is None else at + known)
    engine = make(deployment, scorer(), features=online(store, [view]), clock=clock)
    degraded = engine.predict(as_requests(rows)[:1], principal=None)[0].degraded
    assert degraded == (("feature_stale:arrivals",) if stale else ())
