"""Approvals and incidents over HTTP: who may, what is answered, and that nothing changes where it is refused."""

from datetime import timedelta

import pytest
from tests.server.control.conftest import PLACE

from loopline.access.principals import create_principal
from loopline.clock import SystemClock
from loopline.incidents import incident
from loopline.loop import store
from loopline.storage.database import Transaction

LATE = f"{PLACE}/models/late"
TERMS = {"role": "approver", "environments": ["production"]}


def declare(served, operation: dict, people: dict) -> None:
    """Add to what is applied, as an apply of a changed file would."""
    with served.resources.database.transaction() as tx:
        said = store.latest_applied(tx, "flights")
        assert said is not None
        declaration = said["declaration"]
        declaration["operations"]["late"] |= operation
        declaration |= {"people": people}
        store.add_applied(tx, {**said, "sequence": said["sequence"] + 1, "declaration": declaration, "actor": "ann"})


def person(served, name: str, *permissions: str) -> dict[str, str]:
    with served.resources.database.transaction() as tx:
        create_principal(tx, name, "person", ["approver", "operator"], SystemClock().now())
    return served.token(*permissions, principal=name)


def head(served) -> int:
    page = served.client.get(f"{PLACE}/ledger", params={"limit": 1000}, headers=served.token("ledger:read"))
    return page.json()["entries"][-1]["seq"]


@pytest.fixture
def asked(served) -> str:
    """Eve asks for version 2 in production; gives the approval's id."""
    declare(served, {"approve": TERMS}, {"owner": "team", "escalate": ["lead"]})
    eve = person(served, "eve", "models:promote", "models:approve")
    said = served.client.post(f"{LATE}/promote", headers=eve, json={"version": 2, "reason": "sales"})
    assert (said.status_code, said.json()["changed"]) == (200, False), said.text
    return said.json()["evidence"]["approval"]


def test_a_promotion_waits_for_another_person_and_happens_once(served, asked):
    bob = person(served, "bob", "models:approve", "models:promote", "models:read")
    [found] = served.client.get(f"{PLACE}/approvals?only_open=true", headers=bob).json()
    assert (found["id"], found["state"], found["asked_by"]) == (asked, "asked", "eve")
    given = served.client.post(f"{PLACE}/approvals/{asked}/approve", headers=bob, json={"reason": "fine"})
    assert (given.status_code, given.json()["state"]) == (200, "approved")
    again = served.client.post(f"{PLACE}/approvals/{asked}/approve", headers=bob, json={"reason": "fine"})
    assert (again.status_code, again.json()["code"]) == (409, "approval.decided")
    done = served.client.post(f"{LATE}/promote", headers=bob, json={"version": 2, "reason": "approved"})
    assert done.json()["changed"]
    replayed = served.client.post(f"{PLACE}/approvals/{asked}/approve", headers=bob, json={"reason": "fine"})
    assert replayed.json()["code"] == "approval.decided"
    back = served.client.post(f"{LATE}/rollback", headers=bob, json={"reason": "worse"})
    assert back.status_code == 200
    anew = served.client.post(f"{LATE}/promote", headers=bob, json={"version": 2, "reason": "again"})
    assert not anew.json()["changed"]  # what was used up lets nothing in twice


def test_the_author_and_who_lacks_the_permission_are_refused_and_nothing_changes(served, asked):
    eve = served.token("models:approve", principal="eve")
    promoter = person(served, "dan", "models:promote")
    robot = served.token("models:approve", principal="ann")
    before = head(served)
    for headers, code in ((eve, "approval.own_work"), (promoter, "access.not_permitted"), (robot, None)):
        said = served.client.post(f"{PLACE}/approvals/{asked}/approve", headers=headers, json={"reason": "me"})
        assert said.status_code == 403, said.text
        assert code in {None, said.json()["code"]}
    assert served.client.post(f"{PLACE}/approvals/{asked}/approve", json={"reason": "me"}).status_code == 401
    other = person(served, "cyd", "models:approve")
    nothing = served.client.post(f"{PLACE}/approvals/apr_none/approve", headers=other, json={"reason": "me"})
    assert (nothing.status_code, nothing.json()["code"]) == (404, "approval.unknown")
    assert head(served) == before


def test_rejected_it_is_over(served, asked):
    bob = person(served, "bob", "models:approve")
    said = served.client.post(f"{PLACE}/approvals/{asked}/reject", headers=bob, json={"reason": "no"})
    assert said.json()["state"] == "rejected"
    again = served.client.post(f"{PLACE}/approvals/{asked}/reject", headers=bob, json={"reason": "no"})
    assert again.status_code == 409


def opened(tx: Transaction, served):
    return incident.open_or_join(
        tx,
        project="flights",
        model="late",
        kind="harm",
        alarm="alarm_people",
        at=served.resources.clock.now(),
        sentence="s",
        diagnosis=[],
    )[0]


def test_an_incident_is_looked_after(served):
    declare(served, {}, {"owner": "team", "escalate": ["lead"]})
    with served.resources.database.transaction() as tx:
        place = f"{PLACE}/incidents/{opened(tx, served).id}"
    act = person(served, "bob", "incidents:act", "incidents:read")
    until = (served.resources.clock.now() + timedelta(hours=2)).isoformat()

    def post(path: str, **body: str):
        return served.client.post(f"{place}/{path}", headers=act, json=body)

    assert post("ack", reason="r").json()["acknowledged_by"] == "bob"
    assert post("assign", reason="r", to="cyd").json()["assignee"] == "cyd"
    assert post("escalate", reason="r").json()["level"] == 1
    assert post("escalate", reason="r").json()["code"] == "incident.nobody_next"
    assert post("snooze", reason="r", until=until).json()["snoozed_until"].startswith(until[:16])
    for wrong in ("2026-01-01T00:00:00", "9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+14:00", "soon"):
        assert post("snooze", reason="r", until=wrong).status_code == 400
    assert post("resolve", reason="r").json()["state"] == "resolved"
    for path, body in (("ack", {}), ("assign", {"to": "x"}), ("escalate", {}), ("snooze", {"until": until})):
        assert post(path, reason="r", **body).status_code == 409
    assert post("comment", text="It was the feed.").status_code == 200
    history = served.client.get(f"{place}/history", headers=act).json()
    assert [entry["kind"].removeprefix("incident.") for entry in history] == [
        "opened",
        "acknowledged",
        "assigned",
        "escalated",
        "snoozed",
        "resolved",
        "comment",
    ]
    assert {entry["actor"] for entry in history[1:]} == {"bob"}
