"""Erasing a person over HTTP: with a permission of its own, planned, done, receipted."""

from datetime import UTC, datetime

import polars as pl

from loopline.loop.receipt import read_receipt
from loopline.tables import TableSchema

AT = datetime(2026, 5, 1, tzinfo=UTC)
PATH = "/api/v1/erasures"
GUEST = "guest-0815"


def fill(served) -> None:
    schema = TableSchema({"guest": pl.String, "seat": pl.String}, ("seat",), "guest")
    table = served.resources.tables.create("flights.guests", schema)
    rows = [
        {
            "_key": key,
            "_event_time": AT,
            "_known_at": AT,
            "_tombstone": False,
            "guest": guest,
            "seat": f"seat of {guest}",
        }
        for key, guest in (("g1", GUEST), ("g2", "guest-08155"))
    ]
    table.append(pl.DataFrame(rows, schema=schema.all_columns), writer="test", sequence=1)


def post(served, path, *permissions, **body):
    return served.client.post(path, headers=served.token(*permissions), json=body)


def test_it_takes_a_permission_of_its_own(served):
    fill(served)
    for path in (PATH, f"{PATH}/plan"):
        refused = post(served, path, "tables:read", "personal:show", subject=GUEST, reason="asked")
        assert (refused.status_code, refused.json()["context"]["permission"]) == (403, "subjects:erase")
    assert served.client.get(PATH, headers=served.token("tables:read")).status_code == 403


def test_a_guest_is_planned_erased_and_receipted(served):
    fill(served)
    plan = post(served, f"{PATH}/plan", "subjects:erase", subject=GUEST).json()
    assert plan["removes"] == [
        {"place": "table flights.guests", "what": "rows", "count": 1, "before": "1", "after": "1", "note": None}
    ]
    assert served.resources.tables.open("flights.guests").read().height == 2
    done = post(served, PATH, "subjects:erase", subject=GUEST, column="guest", reason=f"{GUEST} asked").json()
    assert (done["complete"], done["blocked"], done["actor"]) == (True, True, "ann")
    assert GUEST not in str(done)
    assert done["pseudonym"] == served.resources.pseudonyms.of(GUEST)
    assert served.resources.tables.open("flights.guests").read()["_key"].to_list() == ["g2"]
    headers = served.token("subjects:erase", "ledger:read")
    assert served.client.get(PATH, headers=headers).json() == [done]
    envelope = served.client.get(f"{PATH}/{done['erasure']}/receipt", headers=headers)
    receipt = read_receipt(envelope.content, served.resources.key.public)
    assert receipt.erasure == done["erasure"]
    entries = served.client.get("/api/v1/access/ledger", headers=headers).json()["entries"]
    assert [(one["kind"], one["subject"]) for one in entries] == [("subject.erased", done["pseudonym"])]
    assert post(served, PATH, "subjects:erase", subject=GUEST, reason="again").json() == done


def test_what_is_wrong_is_told(served):
    def code(**body):
        answer = post(served, PATH, "subjects:erase", **({"reason": "asked"} | body))
        return answer.status_code, answer.json()["code"]

    assert code(subject=GUEST) == (404, "erasure.unknown_person")
    fill(served)
    assert code(subject=GUEST, column="seat") == (400, "erasure.no_subject")
    assert code(subject="guest-1") == (404, "erasure.unknown_person")
    assert code(subject=GUEST, keep={"flights.x": "held"}) == (400, "erasure.unknown_table")
    assert code(subject="", column="guest") == (400, "http.bad_request")
    assert code(subject=GUEST, keep={"flights.guests": ""}) == (400, "http.bad_request")
    missing = served.client.get(f"{PATH}/none/receipt", headers=served.token("subjects:erase"))
    assert (missing.status_code, missing.json()["code"]) == (404, "erasure.not_found")
