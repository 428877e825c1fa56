"""Reviews in a loop: what was predicted is looked through once, and what reviewers say is monitored and trained on."""

import threading
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

import loopline as ll
from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.errors import InvalidInput
from loopline.labels.review import queue, store
from loopline.loop.declare import Loop
from loopline.loop.history import History
from loopline.loop.lane import Lane, lanes
from loopline.loop.plan import apply
from loopline.loop.resources import Resources
from loopline.loop.review import fill_reviews, reviewed_of, tell_reviews
from loopline.loop.reviewing import answer_review, next_review
from loopline.loop.training_rows import training_rows
from loopline.loop.watch import matured
from loopline.scoring.record import prediction_table

TERMS = ll.review(0.1, expires="60d")
ANN = Identity("ann", frozenset(Permission), "test")


def reviewing(loop: Loop, terms=TERMS) -> Loop:
    """The small loop with people who review."""
    [(name, operation)] = loop.operations.items()
    return replace(loop, operations={name: replace(operation, review=terms)})


@pytest.fixture
def lane(copied: Resources, small_loop: Loop) -> Lane:
    apply(copied.database, reviewing(small_loop), actor="test", at=copied.clock.now())
    return lanes(reviewing(small_loop), seed=7, compare=False)[0]


def items(resources: Resources) -> list[queue.ReviewItem]:
    with resources.database.reading() as tx:
        return queue.find(tx, "parcels")


def predicted(resources: Resources) -> pl.DataFrame:
    return resources.tables.open(prediction_table("parcels", "late")).read()


def test_every_prediction_is_looked_through_once_whenever_it_came(copied, lane):
    rows = predicted(copied)
    now = copied.clock.now()
    assert fill_reviews(copied, lane, now) == len(items(copied)) > 0
    abstained = set(rows.filter(pl.col("decision") == "abstain")["prediction_id"])
    found = {one.prediction_id: one for one in items(copied)}
    assert {one.prediction_id for one in found.values() if one.reason == "abstained"} == abstained
    assert all(one.propensity == 1.0 for one in found.values() if one.reason == "abstained")
    assert 0.1 * rows.height < len(found) - len(abstained) < 0.5 * rows.height
    table = copied.tables.open(prediction_table("parcels", "late"))
    late = rows.filter(pl.col("decision") != "abstain").head(200)
    late = late.with_columns(
        prediction_id=pl.col("prediction_id") + "x", decision=pl.lit("abstain"), _key=pl.col("_key") + "x"
    )
    table.append(late, writer="an old spool", sequence=1)  # known long ago, and come only now
    table.compact()
    assert fill_reviews(copied, lane, now) == 200
    assert fill_reviews(copied, lane, now) == 0


def test_died_between_looking_and_noting_it_is_looked_through_again_and_nothing_enters_twice(copied, lane, monkeypatch):
    """Whatever step the process dies at, the next run comes to the same."""
    now = copied.clock.now()
    steps = ["add_items", "put_mark"]
    for step in steps:
        real = getattr(store, step)

        def dying(*arguments, real=real):
            real(*arguments)
            raise KeyboardInterrupt

        monkeypatch.setattr(store, step, dying)
        with pytest.raises(KeyboardInterrupt):
            fill_reviews(copied, lane, now)
        monkeypatch.setattr(store, step, real)
        assert items(copied) == []
    entered = []
    threads = [threading.Thread(target=lambda: entered.append(fill_reviews(copied, lane, now))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [one.prediction_id for one in items(copied)]
    assert sum(entered) == len(found) == len(set(found)) > 0


def test_true_labels_end_what_waits_and_are_compared_with_answers(copied, lane):
    now = copied.clock.now()
    fill_reviews(copied, lane, now)
    item = next_review(copied, ANN, project="parcels", at=now)
    answer_review(copied, ANN, project="parcels", review_id=item.id, label="positive")
    history = History(copied.tables)
    assert tell_reviews(copied, lane, history, now) > 0
    hours = dict(copied.tables.open("parcels.deliveries").current(columns=["_key", "hours"]).iter_rows())
    for one in items(copied):
        expected = None if one.key not in hours else float(hours[one.key] > 12)
        assert one.told == expected
        assert one.state == ("answered" if one.id == item.id else "waiting" if expected is None else "told")
    assert tell_reviews(copied, lane, history, now) == 0


def unlabelled(lane: Lane) -> Lane:
    """The same where no label is ever told: all that is known is what reviewers say."""
    model = lane.operation.model
    label = replace(model.label, expression=pl.lit(None, pl.Boolean))
    return replace(lane, operation=replace(lane.operation, model=replace(model, label=label)))


def answer_all(resources: Resources, labels: dict[str, float]) -> None:
    at = resources.clock.now()
    with resources.database.transaction() as tx:
        for one in queue.find(tx, "parcels"):
            queue.answer(tx, "parcels", one.id, labels[one.key], by="ann", at=at)


def truth(resources: Resources) -> dict[str, float]:
    rows = predicted(resources)
    hours = resources.tables.open("parcels.deliveries").current(columns=["_key", "hours"])
    joined = rows.select("_key").unique().join(hours, on="_key", how="left")
    return dict(joined.select("_key", (pl.col("hours").fill_null(0.0) > 12).cast(pl.Float64)).iter_rows())


def test_what_reviewers_say_is_monitored_and_trained_on_by_its_weight(copied, lane):
    now = copied.clock.now()
    fill_reviews(copied, lane, now)
    labels = truth(copied)
    answer_all(copied, labels)
    copied.clock.turn_to(now + timedelta(days=3))
    now, silent, history = copied.clock.now(), unlabelled(lane), History(copied.tables)
    begin = now - timedelta(days=60)
    rows = matured(copied, silent, history, after=begin, until=now, now=now)
    known = rows.filter(pl.col("label").is_not_null())
    propensity = {one.key: one.propensity for one in items(copied)}
    assert set(known["_key"]) == set(propensity)
    assert known["weight"].to_list() == pytest.approx([1 / propensity[key] for key in known["_key"]])
    assert known["weight"].sum() == pytest.approx(rows.height, rel=0.3)

    trained_on, held_out = training_rows(copied, silent, history, now)
    frame = pl.concat([trained_on.frame, held_out.frame])
    assert frame.height == len(propensity)
    assert frame["_weight"].to_list() == pytest.approx([1 / propensity[key] for key in frame["_key"]])
    assert frame["label"].to_list() == [labels[key] for key in frame["_key"]]
    reviews = trained_on.pins["reviews"]
    weights = frame["_weight"].to_numpy()
    assert reviews.reviewed == frame.height
    assert reviews.effective_rows == pytest.approx(weights.sum() ** 2 / np.square(weights).sum())

    replayed = replace(silent, replayed=True)
    assert reviewed_of(copied, replayed, now) is None


def test_only_abstentions_reviewed_and_nothing_else_known_there_is_no_training(copied, small_loop):
    lane = lanes(reviewing(small_loop, ll.review(0.0, expires="60d")), seed=7, compare=False)[0]
    fill_reviews(copied, lane, copied.clock.now())
    answer_all(copied, truth(copied))
    copied.clock.turn_to(copied.clock.now() + timedelta(days=3))
    with pytest.raises(InvalidInput) as caught:
        training_rows(copied, unlabelled(lane), History(copied.tables), copied.clock.now())
    assert caught.value.code == "review.no_overlap"


def test_reviews_of_a_censored_label_are_refused(refused):
    error = refused(
        """
import polars as pl
import loopline as ll

loop = ll.Loop("parcels")

@loop.source(key="k", event_time="at", known_at="at")
def rows(window): ...

@loop.model(on=rows, at="at", features=["x"], label=ll.label(rows, pl.col("y"), matures="1d", absent="censored"))
def late(train, params): ...

loop.operate(late, promote=[], watch=ll.Risk("log_loss", tolerance=0.1, block="1d", false_pages_per_year=1), review=ll.review())  # here
"""
    )
    assert error.code == "operate.review_censored"
