"""Approvals: who may give one, for what, until when; and a machine of random people at random times against a plain model."""

import itertools
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from loopline.access.principals import create_principal, set_roles
from loopline.access.tokens import authenticate, issue_token, revoke_token
from loopline.errors import Conflict, InvalidInput, LooplineError, NotFound, NotPermitted
from loopline.gates import approval
from loopline.gates.approval import Subject
from loopline.gates.approval_terms import approval as terms
from loopline.ledger import chain
from loopline.storage.database import Database
from loopline.storage.migrations import upgrade

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WEEK = 7 * DAY
FAR = T0 + 400 * DAY


def about(version: int = 3, environment: str = "production", package: str = "sha256:a", **other) -> Subject:
    decision = other.get("decision", {"threshold": 0.4})
    return Subject(
        project=other.get("project", "flights"),
        model="late",
        version=version,
        environment=environment,
        package=f"{package}{version}",
        decision=decision,
    )


def someone(tx, name: str, *roles: str, kind: str = "person", scopes=None):
    """A principal with a token; gives the secret."""
    create_principal(tx, name, kind, roles, T0)
    return issue_token(tx, name, scopes=scopes, expires_at=FAR, at=T0, name="t")[0]


@pytest.fixture
def who(database: Database):
    """Identities by name: bob and cyd approve, ann made the version, dan operates, eve is an admin, rob a robot."""
    with database.transaction() as tx:
        secrets = {
            name: someone(tx, name, *roles, kind=kind)
            for name, roles, kind in [
                ("ann", ["approver", "operator"], "person"),
                ("bob", ["approver"], "person"),
                ("cyd", ["approver"], "person"),
                ("dan", ["operator"], "person"),
                ("eve", ["admin"], "person"),
                ("rob", ["approver"], "service"),
            ]
        }

    def identity(name: str):
        with database.reading() as tx:
            return authenticate(tx, secrets[name], T0)

    return identity


def asked(database: Database, subject: Subject | None = None, at: datetime = T0, lasts: timedelta = WEEK):
    with database.transaction() as tx:
        made, _ = approval.ask(
            tx, subject or about(), role="approver", lasts=lasts, by="loop", authors={"local:ann"}, why="better", at=at
        )
    return made


def given(database: Database, found, identity, at: datetime = T0 + HOUR, lasts: timedelta = WEEK):
    with database.transaction() as tx:
        return approval.approve(tx, found, identity, lasts=lasts, reason="looked at it", at=at)


def used(database: Database, found, subject: Subject | None = None, at: datetime = T0 + 2 * HOUR):
    with database.transaction() as tx:
        return approval.use(tx, found, subject or about(), by="loop", at=at)


def kinds(database: Database) -> list[str]:
    with database.reading() as tx:
        chain.verify(tx, "flights")
        return [entry.kind for entry in chain.entries(tx, "flights")]


def test_it_is_asked_given_and_used_once(database, who):
    found = asked(database)
    changed = given(database, found, who("bob"))
    assert (changed.state, changed.decided_by, changed.counts_until) == ("approved", "bob", T0 + HOUR + WEEK)
    assert used(database, found) is None
    assert "is used" in (used(database, found) or "")
    with pytest.raises(Conflict, match="is used by bob"):
        given(database, found, who("cyd"), at=T0 + 3 * HOUR)
    assert kinds(database) == ["approval.asked", "approval.approved", "approval.used"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ann", "approval.own_work"),
        ("dan", "access.not_permitted"),
        ("eve", "approval.not_the_role"),
        ("rob", "approval.not_the_role"),
    ],
)
def test_only_another_person_with_the_role_gives_it(database, who, name, code):
    """`ann` is the author as `local:ann`: another door does not make another person."""
    found = asked(database)
    with pytest.raises(NotPermitted) as caught:
        given(database, found, who(name))
    assert caught.value.code == code
    assert kinds(database) == ["approval.asked"]


def test_another_token_of_the_author_is_the_author_and_a_narrow_token_may_not(database, who):
    found = asked(database)
    with database.transaction() as tx:
        second = issue_token(tx, "ann", scopes=None, expires_at=FAR, at=T0, name="second")[0]
        narrow = issue_token(tx, "bob", scopes=["models:read"], expires_at=FAR, at=T0, name="narrow")[0]
        holders = [authenticate(tx, secret, T0) for secret in (second, narrow)]
    for holder, code in zip(holders, ["approval.own_work", "access.not_permitted"], strict=True):
        with pytest.raises(NotPermitted) as caught:
            given(database, found, holder)
        assert caught.value.code == code


def test_whoever_asks_by_hand_is_an_author(database, who):
    with database.transaction() as tx:
        made, _ = approval.ask(tx, about(), role="approver", lasts=WEEK, by="bob", authors=(), why="please", at=T0)
    with pytest.raises(NotPermitted, match="cannot approve"):
        given(database, made, who("bob"))
    assert given(database, made, who("cyd")).state == "approved"


@pytest.mark.parametrize(
    "other",
    [
        about(4),
        about(environment="staging"),
        about(package="sha256:b"),
        about(decision={"threshold": 0.5}),
        about(decision=None),
    ],
)
def test_it_counts_for_exactly_what_was_approved(database, who, other):
    found = asked(database)
    given(database, found, who("bob"))
    assert "another version" in (used(database, found, other) or "")
    assert used(database, found) is None


def test_asking_again_gives_the_same_request_and_another_version_takes_its_place(database, who):
    first = asked(database)
    assert asked(database, at=T0 + HOUR) == first
    given(database, first, who("bob"))
    second = asked(database, about(4), at=T0 + 2 * HOUR)
    assert second.id != first.id
    with database.reading() as tx:
        assert approval.get(tx, "flights", first.id).state == "withdrawn"
        assert approval.counting(tx, "flights", "late", T0 + 3 * HOUR) == []
    assert used(database, first, at=T0 + 3 * HOUR) is not None
    third = asked(database, about(4, "staging"), at=T0 + 3 * HOUR)
    with database.reading() as tx:
        assert {one.id for one in approval.find(tx, "flights", only_open=True)} == {second.id, third.id}


def test_its_time_ends_before_and_after_it_is_given(database, who):
    first = asked(database, lasts=DAY)
    with pytest.raises(Conflict, match="expired"):
        given(database, first, who("bob"), at=T0 + DAY)
    second = asked(database, about(5))
    given(database, second, who("bob"), at=T0 + HOUR, lasts=DAY)
    assert "expired" in (used(database, second, about(5), at=T0 + HOUR + DAY) or "")


def test_a_clock_that_is_set_back_brings_nothing_back(database, who):
    found = asked(database, lasts=DAY)
    given(database, found, who("bob"), at=T0 + 3 * HOUR, lasts=DAY)
    assert "later time" in (used(database, found, at=T0 + 2 * HOUR) or "")
    with database.transaction() as tx:
        chain.append(
            tx, project="flights", at=T0 + 5 * DAY, kind="x", actor="a", subject="s", body={}, key="time has passed"
        )
    assert "expired" in (used(database, found, at=T0 + 4 * HOUR) or "")


def test_a_request_is_not_given_before_it_was_asked_for(database, who):
    """The ledger has seen the time at which it was asked."""
    found = asked(database, at=T0 + DAY)
    with pytest.raises(Conflict) as caught:
        given(database, found, who("bob"), at=T0)
    assert caught.value.code == "approval.before_asked"


def test_what_was_given_falls_with_the_role_and_another_may_give_it(database, who):
    found = asked(database)
    given(database, found, who("bob"))
    with database.transaction() as tx:
        set_roles(tx, "bob", ["viewer"])
    assert "role" in (used(database, found) or "")
    with database.reading() as tx:
        again = approval.get(tx, "flights", found.id)
    assert (again.state, again.decided_by) == ("asked", None)
    given(database, found, who("cyd"), at=T0 + 3 * HOUR)
    assert used(database, found, at=T0 + 4 * HOUR) is None
    assert kinds(database) == [
        "approval.asked",
        "approval.approved",
        "approval.fell",
        "approval.approved",
        "approval.used",
    ]


def test_what_was_given_falls_with_a_revoked_token_but_not_with_one_that_ended(database, who):
    found = asked(database)
    with database.transaction() as tx:
        secret, token = issue_token(tx, "bob", scopes=None, expires_at=T0 + 2 * HOUR, at=T0, name="short")
        short = authenticate(tx, secret, T0 + HOUR)
    given(database, found, short)
    with database.transaction() as tx:
        revoke_token(tx, token.token_id, T0 + HOUR)
    assert "revoked" in (used(database, found) or "")
    with database.transaction() as tx:
        secret, _ = issue_token(tx, "cyd", scopes=None, expires_at=T0 + 4 * HOUR, at=T0, name="short")
        short = authenticate(tx, secret, T0 + 3 * HOUR)
    given(database, found, short, at=T0 + 3 * HOUR)
    assert used(database, found, at=T0 + 5 * HOUR) is None


def test_of_two_approvers_one_is_first(database, who):
    found, done = asked(database), []
    identities = [who("bob"), who("cyd")]
    ready = threading.Barrier(2)

    def approve(identity) -> None:
        ready.wait()
        try:
            given(database, found, identity)
            done.append(identity.principal)
        except Conflict as error:
            done.append(error.code)

    threads = [threading.Thread(target=approve, args=(identity,)) for identity in identities]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name in {"bob", "cyd"} for name in done) == [False, True]
    assert "approval.decided" in done
    assert kinds(database) == ["approval.asked", "approval.approved"]


def test_rejected_is_rejected_also_after_it_was_given(database, who):
    found = asked(database)
    given(database, found, who("bob"))
    with database.transaction() as tx:
        assert approval.reject(tx, found, who("cyd"), reason="no", at=T0 + 2 * HOUR).state == "rejected"
    assert used(database, found, at=T0 + 3 * HOUR) is not None
    with pytest.raises(Conflict, match="rejected by cyd"):
        given(database, found, who("bob"), at=T0 + 3 * HOUR)
    assert asked(database, at=T0 + 4 * HOUR).id != found.id  # asking anew takes a new word


def test_what_fails_with_the_promotion_is_not_used(database, who):
    found = asked(database)
    given(database, found, who("bob"))

    def fail() -> None:
        with database.transaction() as tx:
            assert approval.use(tx, found, about(), by="loop", at=T0 + 2 * HOUR) is None
            raise NotFound("test.gone", "the version is gone")

    with pytest.raises(NotFound):
        fail()
    assert used(database, found) is None


def test_terms_that_ask_nobody_are_refused():
    for said in (
        {"role": "operator"},
        {"role": "king"},
        {"environments": []},
        {"environments": "production"},
        {"expires": "0s"},
        {"expires": "soon"},
        {"assume": "?"},
    ):
        with pytest.raises(InvalidInput):
            terms(**said)


PEOPLE = {"ann": ["approver"], "bob": ["approver"], "cyd": ["approver"], "dan": ["viewer"]}
PROJECTS = (f"p{number}" for number in itertools.count())


class Approvals(RuleBasedStateMachine):
    """Versions 1 and 2 by `ann`; whoever enters must have a word of bob or cyd that is fresh, unused and for this version."""

    database: Database

    @initialize()
    def begin(self) -> None:
        self.project, self.now = next(PROJECTS), T0
        self.word: dict[int, tuple[str, datetime]] = {}  # version to who gave it and until when it counts
        self.roles = dict.fromkeys(PEOPLE, True)
        self.uses = 0
        with self.database.transaction() as tx:
            for name, roles in PEOPLE.items():
                set_roles(tx, name, roles)

    def subject(self, version: int) -> Subject:
        return about(version, project=self.project)

    def open_for(self, version: int):
        with self.database.reading() as tx:
            found = approval.find(tx, self.project)
        return next((one for one in reversed(found) if one.version == version), None)

    @rule(hours=st.integers(1, 30))
    def pass_time(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule(version=st.sampled_from([1, 2]))
    def ask(self, version: int) -> None:
        with self.database.transaction() as tx:
            found, new = approval.ask(
                tx,
                self.subject(version),
                role="approver",
                lasts=DAY,
                by="loop",
                authors={"ann"},
                why="w",
                at=self.now,
            )
        if new:
            self.word = {}
        assert found.state in {"asked", "approved"}

    @rule(version=st.sampled_from([1, 2]), name=st.sampled_from(sorted(PEOPLE)))
    def approve(self, version: int, name: str) -> None:
        found = self.open_for(version)
        if found is None:
            return
        waits = found.state == "asked" and self.now < found.expires_at
        may = name in {"bob", "cyd"} and self.roles[name]
        try:
            with self.database.transaction() as tx:
                approval.approve(tx, found, self.identities[name](tx), lasts=DAY, reason="r", at=self.now)
        except LooplineError:
            assert not (waits and may)
        else:
            assert waits
            assert may
            self.word[version] = (name, self.now + DAY)

    @rule(version=st.sampled_from([1, 2]), name=st.sampled_from(["bob", "cyd"]))
    def reject(self, version: int, name: str) -> None:
        found = self.open_for(version)
        if found is None or not self.roles[name]:
            return
        try:
            with self.database.transaction() as tx:
                approval.reject(tx, found, self.identities[name](tx), reason="r", at=self.now)
        except Conflict:
            return
        self.word.pop(version, None)

    @rule(name=st.sampled_from(["bob", "cyd"]))
    def take_role_or_give_it_back(self, name: str) -> None:
        self.roles[name] = not self.roles[name]
        with self.database.transaction() as tx:
            set_roles(tx, name, PEOPLE[name] if self.roles[name] else [])

    @rule(asked=st.sampled_from([1, 2]), entering=st.sampled_from([1, 2]), back=st.booleans())
    def use(self, asked: int, entering: int, back: bool) -> None:  # noqa: FBT001 - a drawn value
        found = self.open_for(asked)
        if found is None:
            return
        at = self.now - 3 * DAY if back else self.now
        with self.database.transaction() as tx:
            refused = approval.use(tx, found, self.subject(entering), by="loop", at=at)
        giver, until = self.word.get(asked, ("", self.now))
        counts = asked == entering and bool(giver) and self.now < until and not back
        assert (refused is None) == (counts and self.roles.get(giver, False))
        if refused is None:
            self.uses += 1
        if refused is None or (counts and not self.roles[giver]) or self.now >= until:
            self.word.pop(asked, None)

    @invariant()
    def the_ledger_tells_of_every_use(self) -> None:
        with self.database.reading() as tx:
            entries = chain.entries(tx, self.project)
        assert [entry.kind for entry in entries].count("approval.used") == self.uses


def test_no_one_enters_without_a_fresh_word_of_another(tmp_path_factory):
    database = Database.open(f"sqlite:///{tmp_path_factory.mktemp('machine')}/m.db", durable=False)
    upgrade(database)
    with database.transaction() as tx:
        secrets = {name: someone(tx, name, *roles) for name, roles in PEOPLE.items()}

    def identity(name: str):
        return lambda tx: authenticate(tx, secrets[name], T0)

    class Machine(Approvals):
        pass

    Machine.database, Machine.identities = database, {name: identity(name) for name in PEOPLE}
    Machine.TestCase.settings = settings(
        max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Machine, settings=Machine.TestCase.settings)
    database.close()
