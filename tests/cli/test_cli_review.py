"""`loopline review`: what waits is listed, shown, answered, skipped and given back."""

import json

import pytest

import loopline as ll
from loopline.app.home import open_home
from loopline.cli.options import actor
from loopline.config import Settings
from loopline.evaluation.kind import BINARY
from loopline.labels.review import queue
from loopline.labels.review.choosing import chosen
from loopline.loop.status import projects
from loopline.models import registry
from loopline.scoring.record import prediction_table


@pytest.fixture
def asked(home):
    """The newest four predictions of the replay wait to be reviewed."""
    resources = open_home(Settings.read(home, environment={"LOOPLINE_DURABLE": "0"}))
    with resources.database.reading() as tx:
        project = projects(tx)[0]
        [model] = registry.models(tx, project)
    table = resources.tables.open(prediction_table(project, model))
    until, rows = table.appended(-1)
    newest, terms = rows.sort("scored_at").tail(4), ll.review(1.0, expires="9999d")
    found = chosen(newest, terms, None, BINARY, seed=1)
    with resources.database.transaction() as tx:
        at = newest["scored_at"].max()
        place = {"project": project, "model": model, "keys_of": "x", "after": -1, "until": until}
        assert queue.enter(tx, found, terms, **place, at=at) == 4
    resources.database.close()


def test_a_reviewers_day(asked, told, loopline):
    assert [one["state"] for one in told("review")] == ["waiting"] * 4
    costliest = told("review", "list", "--limit", "1")[0]["id"]
    item = told("review", "next")
    assert item["id"] == costliest
    assert item["claimed_by"] == actor()
    assert item["said"] == {}
    assert item["features"]
    assert "score" in told("review", "show", costliest, "--model-said")["said"]
    assert told("review", "answer", costliest, "positive", "--note", "seen")["answers"][0]["label"] == 1.0
    refused = loopline("review", "answer", costliest, "negative", "--json")
    assert (refused.code, json.loads(refused.out)["error"]["code"]) == (4, "review.answered")
    assert len(told("review", "answer", costliest, "negative", "--correct")["answers"]) == 2
    second = told("review", "next")["id"]
    assert told("review", "release", second)["held"] is False
    assert told("review", "skip", second)["skipped_by"] == [actor()]
    assert told("review", "next")["id"] not in {costliest, second}
    [counts] = told("review", "counts")
    assert (counts["waiting"], counts["answered"], counts["held"]) == (3, 1, 1)
    assert len(told("review", "list", "--state", "all")) == 4


def test_for_people_it_says_what_to_do_next(asked, loopline):
    shown = loopline("review", "next").out
    assert "Answer: loopline review answer rev_" in shown
    assert "positive|negative" in shown
    assert "held" in loopline("review", "counts").out
    assert "waiting" in loopline("review").out
    assert "4 predictions of returns wait: loopline review" in loopline("status").out
    unknown = loopline("review", "show", "rev_0")
    assert (unknown.code, unknown.out) == (3, "")


def test_where_nothing_waits_it_says_so(loopline):
    assert loopline("review", "next").out == "Nothing waits for you.\n"
    assert loopline("review").out == "No reviews.\n"
    assert loopline("review", "counts").out == "No reviews.\n"
