"""Approvals: who may give one, for what, until when; and a machine of random people at random times against a plain model."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.access.identity import Identity
from loopline.access.principals import create_principal, set_roles
from loopline.access.tokens import authenticate, issue_token, revoke_token
from loopline.errors import Conflict, InvalidInput, LooplineError, NotFound, NotPermitted
from loopline.gates import approval
from loopline.gates.approval import Approval, Subject
from loopline.gates.approval_terms import approval as terms
from loopline.ledger import chain
from loopline.storage.database import Database, Transaction
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


def give(database: Database, found, identity, at: datetime = T0 + HOUR, lasts: timedelta = WEEK):
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
    changed = give(database, found, who("bob"))
    assert (changed.state, changed.decided_by, changed.counts_until) == ("approved", "bob", T0 + HOUR + WEEK)
    assert used(database, found) is None
    assert "is used" in (used(database, found) or "")
    with pytest.raises(Conflict, match="is used by bob"):
        give(database, found, who("cyd"), at=T0 + 3 * HOUR)
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
        give(database, found, who(name))
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
            give(database, found, holder)
        assert caught.value.code == code


def test_whoever_asks_by_hand_is_an_author(database, who):
    with database.transaction() as tx:
        made, _ = approval.ask(tx, about(), role="approver", lasts=WEEK, by="bob", authors=(), why="please", at=T0)
    with pytest.raises(NotPermitted, match="cannot approve"):
        give(database, made, who("bob"))
    assert give(database, made, who("cyd")).state == "approved"


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
    give(database, found, who("bob"))
    assert "another version" in (used(database, found, other) or "")
    assert used(database, found) is None


def test_asking_again_gives_the_same_request_and_another_version_takes_its_place(database, who):
    first = asked(database)
    assert asked(database, at=T0 + HOUR) == first
    give(database, first, who("bob"))
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
        give(database, first, who("bob"), at=T0 + DAY)
    second = asked(database, about(5))
    give(database, second, who("bob"), at=T0 + HOUR, lasts=DAY)
    assert "expired" in (used(database, second, about(5), at=T0 + HOUR + DAY) or "")


def test_a_clock_that_is_set_back_brings_nothing_back(database, who):
    found = asked(database, lasts=DAY)
    give(database, found, who("bob"), at=T0 + 3 * HOUR, lasts=DAY)
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
        give(database, found, who("bob"), at=T0)
    assert caught.value.code == "approval.before_asked"


def test_what_was_given_falls_with_the_role_and_another_may_give_it(database, who):
    found = asked(database)
    give(database, found, who("bob"))
    with database.transaction() as tx:
        set_roles(tx, "bob", ["viewer"])
    assert "role" in (used(database, found) or "")
    with database.reading() as tx:
        again = approval.get(tx, "flights", found.id)
    assert (again.state, again.decided_by) == ("asked", None)
    give(database, found, who("cyd"), at=T0 + 3 * HOUR)
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
    give(database, found, short)
    with database.transaction() as tx:
        revoke_token(tx, token.token_id, T0 + HOUR)
    assert "revoked" in (used(database, found) or "")
    with database.transaction() as tx:
        secret, _ = issue_token(tx, "cyd", scopes=None, expires_at=T0 + 4 * HOUR, at=T0, name="short")
        short = authenticate(tx, secret, T0 + 3 * HOUR)
    give(database, found, short, at=T0 + 3 * HOUR)
    assert used(database, found, at=T0 + 5 * HOUR) is None


def test_of_two_approvers_one_is_first(database, who):
    found, done = asked(database), []
    identities = [who("bob"), who("cyd")]
    ready = threading.Barrier(2)

    def approve(identity) -> None:
        ready.wait()
        try:
            give(database, found, identity)
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
    give(database, found, who("bob"))
    with database.transaction() as tx:
        assert approval.reject(tx, found, who("cyd"), reason="no", at=T0 + 2 * HOUR).state == "rejected"
    assert used(database, found, at=T0 + 3 * HOUR) is not None
    with pytest.raises(Conflict, match="rejected by cyd"):
        give(database, found, who("bob"), at=T0 + 3 * HOUR)
    assert asked(database, at=T0 + 4 * HOUR).id != found.id  # asking anew takes a new word


def test_what_fails_with_the_promotion_is_not_used(database, who):
    found = asked(database)
    give(database, found, who("bob"))

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


class Walk:
    """Versions 1 and 2 by `ann`, one of them asked for; whoever enters has a word of bob or cyd, fresh, unused, for it."""

    reached: ClassVar[Counter[str]] = Counter()

    def __init__(self, database: Database, identities: dict[str, Callable[[Transaction], Identity]]) -> None:
        self.database, self.identities = database, identities
        self.project, self.now = next(PROJECTS), T0
        self.word: tuple[str, datetime] | None = None  # who gave the newest request's, and until when it counts
        self.able = {"bob", "cyd"}
        self.uses = 0
        with self.database.transaction() as tx:
            for name, roles in PEOPLE.items():
                set_roles(tx, name, roles)
        self.ask(1)

    def subject(self, version: int) -> Subject:
        return about(version, project=self.project)

    def newest(self) -> Approval:
        with self.database.reading() as tx:
            return approval.get(tx, self.project, self.id)

    def pass_time(self, hours: int) -> None:
        self.now += hours * HOUR

    def ask(self, version: int) -> None:
        said = {"role": "approver", "lasts": DAY, "by": "loop", "authors": {"ann"}, "why": "w", "at": self.now}
        with self.database.transaction() as tx:
            found, new = approval.ask(tx, self.subject(version), **said)
        self.word = None if new else self.word
        self.id = found.id
        assert found.version == version
        assert found.state in {"asked", "approved"}

    def approve(self, name: str) -> None:
        found = self.newest()
        waits = found.state == "asked" and self.now < found.expires_at
        try:
            with self.database.transaction() as tx:
                approval.approve(tx, found, self.identities[name](tx), lasts=DAY, reason="r", at=self.now)
        except LooplineError:
            assert not (waits and name in self.able)
        else:
            assert waits
            assert name in self.able
            self.word = (name, self.now + DAY)

    def reject(self) -> None:
        if not self.able:
            return
        try:
            with self.database.transaction() as tx:
                who = self.identities[min(self.able)](tx)
                approval.reject(tx, self.newest(), who, reason="r", at=self.now)
        except Conflict:
            return
        self.word = None

    def take_the_role_or_give_it_back(self, name: str) -> None:
        self.able ^= {name}
        with self.database.transaction() as tx:
            set_roles(tx, name, PEOPLE[name] if name in self.able else [])

    def use(self, other: bool, back: bool) -> None:  # noqa: FBT001 - drawn values
        found = self.newest()
        self.reached[found.state] += 1
        version = 3 - found.version if other else found.version
        with self.database.transaction() as tx:
            at = self.now - 3 * DAY if back else self.now
            refused = approval.use(tx, found, self.subject(version), by="loop", at=at)
        fresh = self.word is not None and self.now < self.word[1]
        could = fresh and not other and not back
        assert (refused is None) == (could and self.word[0] in self.able)
        self.uses += refused is None
        if could or not fresh:
            self.word = None

    def what_counts_is_the_word_that_was_given(self) -> None:
        with self.database.reading() as tx:
            counting = approval.counting(tx, self.project, "late", self.now)
        fresh = self.word is not None and self.now < self.word[1]
        assert [one.decided_by for one in counting] == ([self.word[0]] if fresh else [])

    def the_ledger_tells_of_every_use(self) -> None:
        with self.database.reading() as tx:
            entries = chain.entries(tx, self.project)
        assert [entry.kind for entry in entries].count("approval.used") == self.uses


STEPS = [
    *[("use", False, False)] * 5,
    *[("use", True, False)] * 3,
    ("use", False, True),
    *[("approve", name) for name in ("bob",) * 4 + ("cyd",) * 3 + ("ann", "dan")],
    *[("ask", 1), ("ask", 2), ("reject",)],
    *[("pass_time", hours) for hours in (1, 9, 25, 25)],
    *[("take_the_role_or_give_it_back", name) for name in ("bob", "cyd")],
]


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """A database with people and how they are authenticated."""
    database = Database.open(f"sqlite:///{tmp_path_factory.mktemp('walks')}/m.db", durable=False)
    upgrade(database)
    with database.transaction() as tx:
        secrets = {name: someone(tx, name, *roles) for name, roles in PEOPLE.items()}
    yield database, {name: partial(authenticate, secret=secret, now=T0) for name, secret in secrets.items()}
    database.close()


@given(steps=st.lists(st.sampled_from(STEPS), min_size=12, max_size=24))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_one_enters_without_a_fresh_word_of_another(registered, steps):
    walk = Walk(*registered)
    for name, *given_to in steps:
        getattr(walk, name)(*given_to)
        walk.what_counts_is_the_word_that_was_given()
        walk.the_ledger_tells_of_every_use()


def test_the_walks_went_where_it_matters():
    assert Walk.reached["approved"] > 30
