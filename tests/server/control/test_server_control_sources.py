"""Rows pushed over HTTP: kept when answered, judged, repeated without effect."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from litestar.testing import TestClient

import loopline as ll
from loopline.loop.ingestion import ingest_until
from loopline.loop.pushes import Intakes
from loopline.server.control.app import control_app
from loopline.sources import pushed, store
from loopline.tables import quarantined

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOST = "loopline.local"
PATH = "/api/v1/projects/flights/sources/refunds/rows"
COLUMNS = {"id": pl.String, "at": pl.Datetime("us", "UTC"), "amount": pl.Float64}


@pytest.fixture
def loop():
    made = ll.Loop("flights")
    made.pushed(name="refunds", key="id", event_time="at", columns=COLUMNS, expect={"owed": pl.col("amount") > 0})
    return made


@pytest.fixture
def pushing(served, loop):
    app = control_app(served.resources, hosts={HOST}, intakes=Intakes.of(loop))
    with TestClient(app, base_url=f"http://{HOST}") as client:
        yield replace(served, app=app, client=client)


def push(pushing, *rows, key: str | None = None, path: str = PATH):
    headers = pushing.token("sources:push") | ({"idempotency-key": key} if key else {})
    return pushing.client.post(path, headers=headers, json={"rows": list(rows)})


def row(name: str, **more):
    return {"id": name, "at": "2026-05-01T10:00:00Z", "amount": 1.5, **more}


def test_rows_are_kept_and_ingested_like_any_other(pushing, loop):
    answer = push(pushing, row("a"), row("b", amount=-1), row("c", at="soon"), row("d", what=1))
    assert answer.status_code == 200
    assert answer.json() == {
        "table": "flights.refunds",
        "rows": 1,
        "quarantined": 3,
        "reasons": {"added_column:what": 1, "owed": 1, "wrong_type:at": 1},
        "received_at": "2026-05-01T12:00:00Z",
        "repeated": False,
    }
    done = ingest_until(pushing.resources, loop, NOW, begin=NOW - timedelta(days=1))["flights.refunds"]
    assert (done.rows, done.quarantined, done.reasons) == (1, 3, answer.json()["reasons"])
    rows = pushing.resources.tables.open("flights.refunds").read()
    assert rows.select("_key", "amount", "_known_at").rows() == [("a", 1.5, NOW)]
    assert quarantined(pushing.resources.tables, "flights.refunds").height == 3


def test_repeating_a_push_changes_nothing(pushing, loop):
    first = push(pushing, row("a")).json()
    assert push(pushing, row("a")).json() == first | {"repeated": True}
    assert push(pushing, row("b"), key="k").json()["repeated"] is False
    assert push(pushing, row("b"), key="k").json()["repeated"] is True
    reused = push(pushing, row("c"), key="k")
    assert (reused.status_code, reused.json()["code"]) == (409, "push.key_reused")
    done = ingest_until(pushing.resources, loop, NOW + timedelta(hours=1), begin=NOW - timedelta(days=1))
    assert done["flights.refunds"].rows == 2
    assert push(pushing, row("a")).json()["repeated"] is True


def test_what_is_no_push_is_refused(pushing, served):
    assert push(pushing).status_code == 400
    assert push(pushing, row("a", received_at="2026-05-01T10:00:00Z")).json()["code"] == "push.known_at_given"
    assert pushing.client.post(PATH, headers=pushing.token("sources:push"), json={"rows": ["a"]}).status_code == 400
    assert (
        pushing.client.post(PATH, headers=pushing.token("labels:write"), json={"rows": [row("a")]}).status_code == 403
    )
    assert pushing.client.post(PATH, json={"rows": [row("a")]}).status_code == 401
    assert push(pushing, row("a"), path=PATH.replace("refunds", "arrivals")).json()["code"] == "source.not_pushed"
    assert push(pushing, row("a" * (9 << 20))).status_code == 413
    assert push(served, row("a")).json()["code"] == "source.not_pushed"


def test_lines_and_arrow_are_rows_as_json_is(pushing, loop):
    headers = pushing.token("sources:push")
    lines = b'{"id": "a", "at": "2026-05-01T10:00:00Z", "amount": 1.5}\n\n{"id": "b", "at": "soon", "amount": 1}\n'
    batch = f"{PATH}/batch"
    answer = pushing.client.post(batch, headers=headers | {"content-type": "application/x-ndjson"}, content=lines)
    assert (answer.json()["rows"], answer.json()["reasons"]) == (1, {"wrong_type:at": 1})
    stream = io.BytesIO()
    at = pl.Series([datetime(2026, 5, 1, 10, tzinfo=UTC)], dtype=pl.Datetime("us", "UTC"))
    pl.DataFrame({"id": ["c"], "at": at, "amount": [2.5]}).write_ipc_stream(stream)
    arrow = headers | {"content-type": "application/vnd.apache.arrow.stream", "idempotency-key": "one"}
    for repeated in (False, True):
        answer = pushing.client.post(batch, headers=arrow, content=stream.getvalue()).json()
        assert (answer["rows"], answer["repeated"]) == (1, repeated)
    done = ingest_until(pushing.resources, loop, NOW + timedelta(hours=1), begin=NOW - timedelta(days=1))
    assert done["flights.refunds"].rows == 2


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("text/csv", b"id,at", "push.media_type"),
        ("application/x-ndjson", b'{"id": 1}\nno', "push.unreadable"),
        ("application/x-ndjson", b"[1]", "push.unreadable"),
        ("application/x-ndjson", b"", "push.row_count"),
        ("application/vnd.apache.arrow.stream", b"ARROW1", "push.unreadable"),
    ],
)
def test_a_batch_that_cannot_be_read_keeps_nothing(pushing, kind, body, code):
    headers = pushing.token("sources:push") | {"content-type": kind}
    answer = pushing.client.post(f"{PATH}/batch", headers=headers, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    with pushing.resources.database.reading() as tx:
        assert store.count_waiting(tx, "flights.refunds") == 0


def test_who_pushes_faster_than_is_ingested_waits_and_repeats_are_answered(pushing, loop, monkeypatch):
    monkeypatch.setattr(pushed, "MOST_WAITING", 2)
    assert [push(pushing, row(name), key=name).status_code for name in "abcab"] == [200, 200, 503, 200, 200]
    ingest_until(pushing.resources, loop, NOW + timedelta(hours=1), begin=NOW - timedelta(days=1))
    assert push(pushing, row("c"), key="c").status_code == 200
