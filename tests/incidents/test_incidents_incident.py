from datetime import UTC, datetime, timedelta

import pytest

from loopline.errors import Conflict, Frozen, LooplineError, NotFound
from loopline.incidents import incident
from loopline.incidents.actions import Actions, Cause, Outcome, Prepared
from loopline.incidents.freeze import freeze, frozen, unfreeze
from loopline.ledger import chain
from loopline.storage.database import Database, Transaction

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def opened(tx: Transaction, alarm: str, *, kind: str = "harm", model: str = "late", at: datetime = T0):
    return incident.open_or_join(
        tx,
        project="flights",
        model=model,
        kind=kind,
        alarm=alarm,
        at=at,
        sentence=f"{kind} on {model}",
        diagnosis=[{"feature": "delay_3h", "share": 0.4}],
    )


def kinds(tx: Transaction) -> list[str]:
    return [entry.kind for entry in chain.entries(tx, "flights")]


def test_a_second_alarm_joins_and_does_not_page_again(database: Database):
    with database.transaction() as tx:
        first, pages = opened(tx, "alarm_b")
        joined, pages_again = opened(tx, "alarm_a", at=T0 + HOUR)
    assert (pages, pages_again) == (True, False)
    assert joined.id == first.id
    with database.reading() as tx:
        found = incident.get(tx, "flights", first.id)
        assert found.alarms == ["alarm_a", "alarm_b"]
        assert (found.opened_at, found.diagnosis) == (T0, [{"feature": "delay_3h", "share": 0.4}])
        assert kinds(tx) == ["incident.opened"]


def test_the_same_alarm_joins_once(database: Database):
    with database.transaction() as tx:
        opened(tx, "alarm_a")
        opened(tx, "alarm_b")
        joined, _ = opened(tx, "alarm_b")
    assert joined.alarms == ["alarm_a", "alarm_b"]


def test_a_waiting_incident_takes_alarms_and_goes_on_waiting(database: Database):
    with database.transaction() as tx:
        made, _ = opened(tx, "alarm_a")
        incident.wait(tx, made)
        joined, pages = opened(tx, "alarm_b")
    assert (joined.id, joined.state, pages) == (made.id, "waiting", False)


def test_kinds_and_models_have_incidents_of_their_own(database: Database):
    with database.transaction() as tx:
        made = [
            opened(tx, "alarm_a"),
            opened(tx, "alarm_b", kind="data_fault"),
            opened(tx, "alarm_c", model="cancelled"),
        ]
        assert [pages for _, pages in made] == [True, True, True]
        assert len({found.id for found, _ in made}) == 3
        of_late = incident.find(tx, "flights", model="late")
    assert {found.kind for found in of_late} == {"harm", "data_fault"}


def test_resolved_it_is_over_and_the_next_alarm_opens_another(database: Database):
    with database.transaction() as tx:
        made, _ = opened(tx, "alarm_a")
        incident.resolve(tx, made, at=T0 + HOUR, actor="ann", sentence="It was the feed.")
        after, pages = opened(tx, "alarm_b", at=T0 + 2 * HOUR)
    with database.reading() as tx:
        closed = incident.get(tx, "flights", made.id)
        assert (closed.state, closed.closed_at) == ("resolved", T0 + HOUR)
        assert [found.id for found in incident.find(tx, "flights", only_open=True)] == [after.id]
        assert [found.id for found in incident.find(tx, "flights")] == [made.id, after.id]
        assert pages
        entry = chain.entries(tx, "flights", kind="incident.resolved")[0]
        assert (entry.actor, entry.subject, entry.body) == ("ann", made.id, {"sentence": "It was the feed."})


def test_an_alarm_that_is_taken_again_does_not_reopen_what_is_resolved(database: Database):
    with database.transaction() as tx:
        made, _ = opened(tx, "alarm_a")
        incident.resolve(tx, made, at=T0 + HOUR, actor="ann", sentence="Done.")
        again, pages = opened(tx, "alarm_a", at=T0 + 2 * HOUR)
    assert (again.id, again.state, pages) == (made.id, "resolved", False)
    with database.reading() as tx:
        assert kinds(tx) == ["incident.opened", "incident.resolved"]


def test_resolving_twice_is_refused(database: Database):
    with database.transaction() as tx:
        made, _ = opened(tx, "alarm_a")
        incident.resolve(tx, made, at=T0 + HOUR, actor="ann", sentence="Done.")
    with database.transaction() as tx:
        found = incident.get(tx, "flights", made.id)
        with pytest.raises(Conflict) as caught:
            incident.resolve(tx, found, at=T0 + 2 * HOUR, actor="bob", sentence="Done again.")
    assert caught.value.code == "incident.closed"
    with database.reading() as tx:
        assert incident.get(tx, "flights", made.id).closed_at == T0 + HOUR
        assert kinds(tx) == ["incident.opened", "incident.resolved"]


def test_unknown_incidents_are_not_found(database: Database):
    with database.transaction() as tx:
        made, _ = opened(tx, "alarm_a")
    with database.reading() as tx:
        for project, name in [("flights", "inc_none"), ("trains", made.id)]:
            with pytest.raises(NotFound):
                incident.get(tx, project, name)


def test_what_fails_after_opening_leaves_no_incident(database: Database):
    def fail() -> None:
        with database.transaction() as tx:
            opened(tx, "alarm_a")
            raise Frozen("test.stop", "stop")

    with pytest.raises(Frozen):
        fail()
    with database.reading() as tx:
        assert incident.find(tx, "flights") == []
        assert kinds(tx) == []


def test_freezing_what_is_frozen_keeps_the_first(database: Database):
    with database.transaction() as tx:
        first = freeze(tx, project="flights", by="ann", reason="strike", at=T0)
        again = freeze(tx, project="flights", by="bob", reason="nerves", at=T0 + HOUR)
    assert again == first
    with database.reading() as tx:
        assert frozen(tx, "flights") == first
        assert frozen(tx, "trains") is None
        [entry] = chain.entries(tx, "flights")
    assert (entry.kind, entry.actor, entry.at, entry.body) == ("freeze", "ann", T0, {"reason": "strike"})


def test_unfreezing_allows_again_and_is_told_once(database: Database):
    with database.transaction() as tx:
        assert not unfreeze(tx, project="flights", by="ann", reason="calm", at=T0)
        freeze(tx, project="flights", by="ann", reason="strike", at=T0)
        assert unfreeze(tx, project="flights", by="bob", reason="over", at=T0 + HOUR)
        assert not unfreeze(tx, project="flights", by="bob", reason="over", at=T0 + 2 * HOUR)
        assert frozen(tx, "flights") is None
        freeze(tx, project="flights", by="cyd", reason="snow", at=T0 + 3 * HOUR)
    with database.reading() as tx:
        assert [(entry.kind, entry.actor) for entry in chain.entries(tx, "flights")] == [
            ("freeze", "ann"),
            ("unfreeze", "bob"),
            ("freeze", "cyd"),
        ]
        chain.verify(tx, "flights")


def test_freezing_anew_in_the_same_moment_is_another_entry(database: Database):
    """A replay's clock stands still."""
    with database.transaction() as tx:
        for reason in ("strike", "snow"):
            freeze(tx, project="flights", by="ann", reason=reason, at=T0)
            unfreeze(tx, project="flights", by="ann", reason="over", at=T0)
    with database.reading() as tx:
        assert kinds(tx) == ["freeze", "unfreeze", "freeze", "unfreeze"]


def test_actions_are_called_by_name():
    cause = Cause(key="k", sentence="harm", actor="loop", at=T0)
    told: list[Cause] = []

    def tell(given: Cause) -> Prepared:
        told.append(given)
        return Prepared(lambda _tx: Outcome(changed=True, sentence="done"))

    actions = Actions({"notify": tell})
    assert actions.prepare("notify", cause).seconds == {}
    assert told == [cause]
    with pytest.raises(LooplineError) as caught:
        actions.prepare("page", cause)
    assert (caught.value.code, "notify" in caught.value.remedy) == ("action.unknown", True)
