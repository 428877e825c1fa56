"""Reviews over HTTP: claimed, answered, skipped; by who may, with what they may see."""

import pytest

import loopline as ll
from loopline.evaluation.kind import BINARY
from loopline.labels.review import queue
from loopline.labels.review.choosing import chosen
from loopline.ledger import chain
from loopline.loop.access_changes import LEDGER
from loopline.loop.personal import Tags, keep_tags
from loopline.scoring.record import prediction_table

PLACE = "/api/v1/projects/flights/reviews"
READ, ANSWER, SHOW = "reviews:read", "reviews:answer", "personal:show"
TABLE = prediction_table("flights", "late")


@pytest.fixture
def waiting(served):
    """Three of the five predictions wait: all of `share=1` but those that are past their time."""
    keep_tags(served.resources.tables, {TABLE: Tags(frozenset({"_key", "feature_distance"}))})
    table = served.resources.tables.open(TABLE)
    until, rows = table.appended(-1)
    assert (until, rows.height) == (table.version, 5)
    terms = ll.review(1.0, expires="150m")
    with served.resources.database.transaction() as tx:
        entered = queue.enter(
            tx,
            chosen(rows, terms, None, BINARY, seed=1),
            terms,
            project="flights",
            model="late",
            keys_of="flights.arrivals",
            after=-1,
            until=until,
            at=served.resources.clock.now(),
        )
    assert entered == 3
    return served


def post(served, path, body, *permissions, principal="ann"):
    return served.client.post(f"{PLACE}{path}", json=body, headers=served.token(*permissions, principal=principal))


def test_a_review_is_claimed_answered_and_corrected(waiting):
    item = post(waiting, "/next", {}, ANSWER).json()
    assert (item["state"], item["claimed_by"], item["choices"]) == ("waiting", "ann", ["positive", "negative"])
    assert item["prediction_id"] == "pr_2"  # the nearest to a half
    assert item["said"] == {}
    assert item["key"].startswith("person:")
    assert item["features"]["distance"].startswith("person:")
    assert post(waiting, "/next", {"model_said": True}, ANSWER).json()["said"]["score"] == pytest.approx(0.2)
    one = f"/{item['id']}"
    done = post(waiting, f"{one}/answer", {"label": True, "note": "seen it"}, ANSWER).json()
    assert (done["state"], done["answers"][0]["label"], done["key"]) == ("answered", 1.0, item["key"])
    again = post(waiting, f"{one}/answer", {"label": "positive"}, ANSWER)
    assert len(again.json()["answers"]) == 1
    other = post(waiting, f"{one}/answer", {"label": "negative"}, ANSWER)
    assert (other.status_code, other.json()["code"]) == (409, "review.answered")
    assert len(post(waiting, f"{one}/answer", {"label": 0, "correct": True}, ANSWER).json()["answers"]) == 2
    wrong = post(waiting, f"{one}/answer", {"label": "perhaps"}, ANSWER)
    assert (wrong.status_code, wrong.json()["code"]) == (400, "review.label")
    metrics = waiting.client.get("/metrics", headers=waiting.token("status:read")).text
    assert 'loopline_reviews_waiting{project="flights",model="late"} 2' in metrics
    [counts] = waiting.client.get(f"{PLACE}/counts", headers=waiting.token(READ)).json()
    assert (counts["waiting"], counts["answered"], counts["by"]) == (2, 1, {"ann": 2})


def test_what_one_holds_is_left_to_them_until_it_is_skipped_or_released(waiting):
    item = post(waiting, "/next", {}, ANSWER).json()["id"]
    assert post(waiting, f"/{item}/skip", {"note": "too blurred"}, ANSWER).json()["skipped_by"] == ["ann"]
    second = post(waiting, "/next", {}, ANSWER).json()["id"]
    assert second != item
    assert post(waiting, f"/{second}/release", {}, ANSWER).json()["held"] is False
    listed = waiting.client.get(f"{PLACE}?only=waiting&model=late", headers=waiting.token(READ)).json()
    assert len(listed) == 3
    assert all(one["key"].startswith("person:") for one in listed)
    assert waiting.client.get(f"{PLACE}?only=odd", headers=waiting.token(READ)).status_code == 400


def test_personal_values_are_shown_to_who_may_see_them_and_the_ledger_says_so(waiting):
    item = post(waiting, "/next", {}, ANSWER).json()["id"]
    refused = post(waiting, "/next", {"clear": True}, ANSWER)
    assert (refused.status_code, refused.json()["code"]) == (403, "access.not_permitted")
    address = f"{PLACE}/{item}?clear=true&reason=a%20complaint"
    shown = waiting.client.get(address, headers=waiting.token(READ, SHOW)).json()
    assert (shown["key"], shown["features"]["distance"]) == ("flight 2", 200.0)
    with waiting.resources.database.reading() as tx:
        [entry] = [one for one in chain.entries(tx, LEDGER) if one.kind == "personal.shown"]
    assert (entry.subject, entry.body["reason"], entry.actor) == (TABLE, "a complaint", "ann")


def test_nothing_waits_and_nothing_is_known(served):
    assert post(served, "/next", {}, ANSWER).json() is None
    assert post(served, "/rev_x/answer", {"label": 1}, ANSWER).json()["code"] == "review.unknown"
    assert served.client.get(f"{PLACE}/counts", headers=served.token(READ)).json() == []
