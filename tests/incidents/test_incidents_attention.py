"""What people do about incidents, and what time does; with a machine that tries everything in any order."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from loopline.errors import Conflict, InvalidInput, LooplineError
from loopline.incidents import attention, incident, outbox
from loopline.incidents.people import people, quiet_hours
from loopline.ledger import chain
from loopline.storage.database import Database
from loopline.storage.migrations import upgrade

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TEAM = people(owner="risk", escalate=["lead", "head"], escalate_after="30m")


def opened(tx, *, project: str = "flights", severity="critical", who=TEAM, at: datetime = T0, alarm: str = "a"):
    found, _ = incident.open_or_join(
        tx,
        project=project,
        model="late",
        kind="harm",
        alarm=alarm,
        at=at,
        sentence="It hurts.",
        diagnosis=[{"sentence": "delay moved"}],
        severity=severity,
        owner="risk",
    )
    attention.tell(tx, found, who, at)
    return incident.get(tx, project, found.id)


def told(tx, project: str = "flights") -> list[tuple[str, str]]:
    return [(one.message["event"].removeprefix("incident."), one.to) for one in outbox.waiting(tx, project)]


def attended(database, at, who=TEAM):
    with database.transaction() as tx:
        attention.attend(tx, "flights", who, at)
        return told(tx)


def test_unacknowledged_it_goes_from_one_addressee_to_the_next_and_ends_with_the_last(database: Database):
    with database.transaction() as tx:
        found = opened(tx)
    steps = [attended(database, T0 + minutes * MINUTE) for minutes in (29, 30, 31, 59, 60, 61, 600)]
    assert [len(step) for step in steps] == [1, 2, 2, 2, 3, 3, 3]
    assert steps[-1] == [("opened", "risk"), ("escalated", "lead"), ("escalated", "head")]
    with database.reading() as tx:
        now = incident.get(tx, "flights", found.id)
        entries = chain.entries(tx, "flights", kind="incident.escalated")
    assert (now.level, now.escalates_at, now.state) == (2, None, "open")
    assert [(entry.actor, entry.body["to"]) for entry in entries] == [("loop", "lead"), ("loop", "head")]


def test_acknowledged_it_escalates_no_more(database: Database):
    with database.transaction() as tx:
        found = opened(tx)
        taken = attention.acknowledge(tx, "flights", found.id, by="ann", reason="on it", at=T0 + MINUTE)
        again = attention.acknowledge(tx, "flights", found.id, by="ann", reason="on it", at=T0 + 2 * MINUTE)
    assert again == taken
    assert (taken.acknowledged_by, taken.acknowledged_at) == ("ann", T0 + MINUTE)
    assert attended(database, T0 + 5 * HOUR) == [("opened", "risk")]
    with database.transaction() as tx, pytest.raises(Conflict) as caught:
        attention.acknowledge(tx, "flights", found.id, by="bob", reason="me", at=T0 + HOUR)
    assert caught.value.code == "incident.acknowledged"


def test_snoozed_it_rests_and_is_told_again_and_escalates_anew(database: Database):
    with database.transaction() as tx:
        found = opened(tx)
        attention.snooze(tx, "flights", found.id, until=T0 + 2 * HOUR, by="ann", reason="batch runs", at=T0 + MINUTE)
    assert attended(database, T0 + 2 * HOUR - MINUTE) == [("opened", "risk")]
    assert attended(database, T0 + 2 * HOUR)[1:] == [("woken", "risk")]
    assert attended(database, T0 + 2 * HOUR + 30 * MINUTE)[2:] == [("escalated", "lead")]


@pytest.mark.parametrize("until", [T0, T0 - HOUR, T0 + timedelta(days=60)])
def test_a_snooze_has_an_end_ahead(database: Database, until):
    with database.transaction() as tx:
        found = opened(tx)
        with pytest.raises(InvalidInput):
            attention.snooze(tx, "flights", found.id, until=until, by="ann", reason="r", at=T0)


def test_assigning_tells_whoever_it_is_given_to_once(database: Database):
    with database.transaction() as tx:
        found = opened(tx)
        for _ in range(2):
            given = attention.assign(tx, "flights", found.id, to="cyd", people=TEAM, by="ann", reason="yours", at=T0)
        assert given.assignee == "cyd"
        assert sorted(told(tx)) == [("assigned", "cyd"), ("opened", "risk")]


def test_escalating_by_hand_takes_it_from_whoever_had_it_until_nobody_is_left(database: Database):
    with database.transaction() as tx:
        found = opened(tx)
        attention.acknowledge(tx, "flights", found.id, by="ann", reason="on it", at=T0)
        for to in ("lead", "head"):
            now = attention.escalate(tx, "flights", found.id, people=TEAM, by="ann", reason="help", at=T0 + HOUR)
            assert now.acknowledged_by is None
            assert ("escalated", to) in told(tx)
        with pytest.raises(Conflict) as caught:
            attention.escalate(tx, "flights", found.id, people=TEAM, by="ann", reason="help", at=T0 + HOUR)
    assert caught.value.code == "incident.nobody_next"


def test_resolved_it_takes_comments_only(database: Database):
    with database.transaction() as tx:
        found = opened(tx)
        incident.resolve(tx, found, at=T0 + MINUTE, actor="ann", sentence="fixed")
    acts = [
        lambda tx: attention.acknowledge(tx, "flights", found.id, by="a", reason="r", at=T0 + HOUR),
        lambda tx: attention.snooze(tx, "flights", found.id, until=T0 + 9 * HOUR, by="a", reason="r", at=T0 + HOUR),
        lambda tx: attention.assign(tx, "flights", found.id, to="b", people=TEAM, by="a", reason="r", at=T0 + HOUR),
        lambda tx: attention.escalate(tx, "flights", found.id, people=TEAM, by="a", reason="r", at=T0 + HOUR),
    ]
    for act in acts:
        with database.transaction() as tx, pytest.raises(Conflict) as caught:
            act(tx)
        assert caught.value.code == "incident.over"
    with database.transaction() as tx:
        attention.comment(tx, "flights", found.id, by="ann", text="It was the feed.", at=T0 + HOUR)
        said = attention.comments(tx, found)
    assert [entry.kind for entry in said] == ["incident.opened", "incident.resolved", "incident.comment"]
    assert attended(database, T0 + 9 * HOUR) == [("opened", "risk")]


def test_what_is_not_critical_lets_people_sleep_and_what_is_does_not(database: Database):
    sleepers = people(owner="risk", escalate=["lead"], quiet=quiet_hours("22:00", "07:00"))
    night = datetime(2026, 1, 1, 23, tzinfo=UTC)
    morning = datetime(2026, 1, 2, 7, tzinfo=UTC)
    with database.transaction() as tx:
        opened(tx, severity="warning", who=sleepers, at=night)
        assert [one.due_at for one in outbox.waiting(tx, "flights")] == [morning]
    assert len(attended(database, night + 3 * HOUR, sleepers)) == 1
    assert len(attended(database, morning + 29 * MINUTE, sleepers)) == 1
    assert len(attended(database, morning + 30 * MINUTE, sleepers)) == 2
    with database.transaction() as tx:
        found, _ = incident.open_or_join(
            tx,
            project="flights",
            model="other",
            kind="harm",
            alarm="b",
            at=night,
            sentence="s",
            diagnosis=[],
            owner="risk",
        )
        attention.tell(tx, found, sleepers, night)
        assert night in [one.due_at for one in outbox.waiting(tx, "flights")]
    assert ("escalated", "lead") in attended(database, night + 30 * MINUTE, sleepers)


PROJECTS = (f"p{number}" for number in itertools.count())
NAMES = st.sampled_from(["ann", "bob"])


class Handling(RuleBasedStateMachine):
    """One incident, anybody doing anything: what is over stays over, and every change is told of in the ledger."""

    database: Database

    @initialize()
    def begin(self) -> None:
        self.project, self.now, self.over, self.changes = next(PROJECTS), T0, False, 1
        with self.database.transaction() as tx:
            self.id = opened(tx, project=self.project).id

    def current(self):
        with self.database.reading() as tx:
            return incident.get(tx, self.project, self.id)

    def attempt(self, act) -> bool:
        before = self.current()
        try:
            with self.database.transaction() as tx:
                act(tx)
        except LooplineError:
            assert self.current() == before
            return False
        self.changes += self.current() != before
        return True

    @rule(minutes=st.integers(1, 90))
    def pass_time(self, minutes: int) -> None:
        self.now += minutes * MINUTE
        before = self.current()
        with self.database.transaction() as tx:
            changed = attention.attend(tx, self.project, TEAM, self.now)
        self.changes += len(changed)
        due = [moment for moment in (before.snoozed_until, before.escalates_at) if moment and moment <= self.now]
        assert bool(changed) == (bool(due) and not self.over)

    @rule(by=NAMES)
    def acknowledge(self, by: str) -> None:
        before = self.current()
        done = self.attempt(lambda tx: attention.acknowledge(tx, self.project, self.id, by=by, reason="r", at=self.now))
        assert done == (not self.over and before.acknowledged_by in {None, by})
        if done:
            assert self.current().acknowledged_by == by
            assert self.current().escalates_at is None

    @rule(by=NAMES, minutes=st.integers(-5, 300))
    def snooze(self, by: str, minutes: int) -> None:
        until = self.now + minutes * MINUTE
        done = self.attempt(
            lambda tx: attention.snooze(tx, self.project, self.id, until=until, by=by, reason="r", at=self.now)
        )
        assert done == (not self.over and minutes > 0)

    @rule(by=NAMES)
    def escalate(self, by: str) -> None:
        before = self.current()
        done = self.attempt(
            lambda tx: attention.escalate(tx, self.project, self.id, people=TEAM, by=by, reason="r", at=self.now)
        )
        assert done == (not self.over and before.level < 2)

    @rule(by=NAMES, to=NAMES)
    def assign(self, by: str, to: str) -> None:
        done = self.attempt(
            lambda tx: attention.assign(tx, self.project, self.id, to=to, people=TEAM, by=by, reason="r", at=self.now)
        )
        assert done == (not self.over)

    @rule(by=NAMES)
    def resolve(self, by: str) -> None:
        found = self.current()
        done = self.attempt(lambda tx: incident.resolve(tx, found, at=self.now, actor=by, sentence="done"))
        assert done == (not self.over)
        self.over = True

    @invariant()
    def it_is_as_it_should_be(self) -> None:
        found = self.current()
        assert (found.state == "resolved") == self.over
        assert not (found.acknowledged_by and found.escalates_at)
        assert not found.snoozed_until or found.acknowledged_by
        assert 0 <= found.level <= 2
        with self.database.reading() as tx:
            entries = chain.entries(tx, self.project, subject=self.id)
        assert len(entries) == self.changes


def test_whatever_people_do_what_is_over_stays_over(tmp_path_factory):
    database = Database.open(f"sqlite:///{tmp_path_factory.mktemp('machine')}/m.db", durable=False)
    upgrade(database)

    class Machine(Handling):
        pass

    Machine.database = database
    quick = settings(max_examples=30, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Machine, settings=quick)
    database.close()
