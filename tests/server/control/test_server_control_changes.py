"""What people change over HTTP: it takes effect, the ledger says who did it, and what cannot be changes nothing."""

import pytest

from loopline.access.principals import create_principal
from loopline.clock import SystemClock
from loopline.gates.promotion import CHAMPION
from loopline.loop.deployment import manifest_path
from loopline.models import registry
from loopline.models.manifest import read_manifest

PLACE = "/api/v1/projects/flights"
LATE = f"{PLACE}/models/late"


def champion(served) -> int | None:
    with served.resources.database.reading() as tx:
        return registry.alias(tx, "flights", "late", CHAMPION)


def manifest(served):
    return read_manifest(manifest_path(served.resources, "flights"), served.resources.key.public)


def newest(served):
    page = served.client.get(f"{PLACE}/ledger", params={"limit": 1000}, headers=served.token("ledger:read")).json()
    return page["entries"][-1]


def test_a_promotion_serves_and_says_who_and_why_and_a_rollback_undoes_it(served):
    with served.resources.database.transaction() as tx:
        create_principal(tx, "eve", "person", ["approver"], SystemClock().now())
    eve = served.token("models:promote", principal="eve")
    done = served.client.post(f"{LATE}/promote", headers=eve, json={"version": 2, "reason": "asked by sales"})
    assert (done.status_code, done.json()["changed"]) == (200, True)
    assert champion(served) == 2
    assert [one.version for one in manifest(served).deployments] == [2]
    entry = newest(served)
    assert (entry["kind"], entry["actor"], entry["subject"]) == ("promotion", "eve", "late:2")
    assert entry["body"]["evidence"]["cause"] == "asked by sales"

    back = served.client.post(f"{LATE}/rollback", headers=eve, json={"reason": "sales erred"})
    assert back.status_code == 200, back.text
    assert champion(served) == 1
    assert [one.version for one in manifest(served).deployments] == [1]
    kinds = {one["kind"]: one["actor"] for one in _entries(served)}
    assert kinds["rollback"] == kinds["incident.resolved"] == "eve"


def _entries(served):
    return served.client.get(f"{PLACE}/ledger?limit=1000", headers=served.token("ledger:read")).json()["entries"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"version": 9, "reason": "x"}, 404, "model.version_not_found"),
        ({"version": 0, "reason": "x"}, 400, "http.bad_request"),
        ({"version": 2**31, "reason": "x"}, 400, "http.bad_request"),
        ({"version": 2}, 400, "http.bad_request"),
        ({"version": 2, "reason": ""}, 400, "http.bad_request"),
        ({"version": 2, "reason": "a\0b"}, 400, "http.bad_request"),
        ({"version": 2, "reason": "x", "actor": "root"}, 400, "http.bad_request"),
        ({"version": True, "reason": "x"}, 400, "http.bad_request"),
        ([], 400, "http.bad_request"),
    ],
)
def test_a_promotion_that_cannot_be_changes_nothing(shared, body, status, code):
    before = _entries(shared)
    refused = shared.client.post(f"{LATE}/promote", headers=shared.token("models:promote"), json=body)
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
    assert set(refused.json()) == {"error", "code", "remedy", "context"}
    assert champion(shared) == 1
    assert _entries(shared) == before


def test_rolling_back_the_first_champion_says_what_to_do(served):
    refused = served.client.post(f"{LATE}/rollback", headers=served.token("models:promote"), json={"reason": "x"})
    assert (refused.status_code, refused.json()["code"]) == (404, "rollback.no_earlier")
    assert refused.json()["remedy"]
    same = served.client.post(f"{LATE}/rollback", headers=served.token("models:promote"), json={"reason": "x", "to": 1})
    assert (same.status_code, same.json()["code"]) == (409, "rollback.serves_already")


def test_freezing_stops_once_and_is_lifted_once(served):
    may = served.token("loop:freeze", "status:read")
    for reason in ("maintenance", "again"):
        done = served.client.post(f"{PLACE}/freeze", headers=may, json={"reason": reason})
        assert (done.json()["by"], done.json()["reason"]) == ("ann", "maintenance")
    assert served.client.get("/api/v1/status", headers=may).json()[0]["frozen"]["by"] == "ann"
    assert [one["kind"] for one in _entries(served)].count("freeze") == 1
    lifted = [
        served.client.post(f"{PLACE}/unfreeze", headers=may, json={"reason": "done"}).json()["was_frozen"]
        for _ in range(2)
    ]
    assert lifted == [True, False]
    assert served.client.get("/api/v1/status", headers=may).json()[0]["frozen"] is None


def test_an_incident_is_resolved_once(served):
    may = served.token("incidents:read", "incidents:act")
    (found,) = served.client.get(f"{PLACE}/incidents?only_open=true", headers=may).json()
    done = served.client.post(f"{PLACE}/incidents/{found['id']}/resolve", headers=may, json={"reason": "a storm"})
    assert done.json()["state"] == "resolved"
    assert newest(served)["body"] == {"sentence": "a storm"}
    again = served.client.post(f"{PLACE}/incidents/{found['id']}/resolve", headers=may, json={"reason": "a storm"})
    assert (again.status_code, again.json()["code"]) == (409, "incident.closed")
    assert served.client.get(f"{PLACE}/incidents?only_open=true", headers=may).json() == []
    unknown = served.client.post(f"{PLACE}/incidents/inc_none/resolve", headers=may, json={"reason": "x"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "incident.unknown")


def test_tokens_and_principals_are_given_and_taken_on_the_record(served):
    may = served.token("tokens:manage", "ledger:read", "predictions:create", "labels:write")
    made = served.client.post(
        "/api/v1/principals", headers=may, json={"name": "shop", "kind": "service", "roles": ["scorer"]}
    )
    assert made.status_code == 201, made.text
    issued = served.client.post(
        "/api/v1/tokens", headers=may, json={"name": "till", "principal": "shop", "expires_in": "1d"}
    ).json()
    listed = served.client.get("/api/v1/tokens", headers=may)
    assert issued["secret"] not in listed.text
    assert "digest" not in listed.json()[0]
    assert "shop" in {grant.principal for grant in manifest(served).tokens}
    ended = [served.client.delete(f"/api/v1/tokens/{issued['token']['token_id']}", headers=may) for _ in range(2)]
    assert [one.status_code for one in ended] == [204, 204]
    assert "shop" not in {grant.principal for grant in manifest(served).tokens}
    page = served.client.get("/api/v1/access/ledger", headers=may).json()
    assert [(one["kind"], one["actor"]) for one in page["entries"]] == [
        ("principal.created", "ann"),
        ("token.issued", "ann"),
        ("token.revoked", "ann"),
    ]
    assert issued["secret"] not in str(page)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "x", "principal": "nobody"}, "principal.not_found"),
        ({"name": "x", "principal": "ann", "scopes": ["all"]}, "permission.unknown"),
        ({"name": "x", "principal": "ann", "expires_in": "soon"}, "http.bad_request"),
        ({"name": "x", "principal": "ann", "expires_in": "0s"}, "token.ends_before_it_begins"),
        ({"name": "x", "principal": "ann", "expires_in": "400d"}, "token.valid_too_long"),
        ({"name": "x", "principal": "ann", "expires_in": "9" * 40 + "w"}, "http.bad_request"),
    ],
)
def test_a_token_that_cannot_be_issued_is_not(shared, body, code):
    everything = {"authorization": shared.token("tokens:manage", "status:read")["authorization"]}
    before = shared.client.get("/api/v1/tokens", headers=everything).json()
    refused = shared.client.post("/api/v1/tokens", headers=everything, json=body)
    assert (refused.status_code < 500, refused.json()["code"]) == (True, code)
    assert shared.client.get("/api/v1/tokens", headers=everything).json() == before
