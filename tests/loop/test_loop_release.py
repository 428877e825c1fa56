"""From gates through staging and an approval to production, turn by turn, in operation and in a replay."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import loopline as ll
from loopline.access.principals import create_principal, set_roles
from loopline.access.tokens import authenticate, issue_token
from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import Conflict, LooplineError, NotFound, NotPermitted
from loopline.gates import approval
from loopline.incidents import outbox
from loopline.ledger import chain
from loopline.loop import changes, handling, store
from loopline.loop.decide import Asked, decide, follow_declarations
from loopline.loop.declare import Loop
from loopline.loop.deployment import manifest_path, publish
from loopline.loop.describe import describe
from loopline.loop.due import Due
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_until
from loopline.loop.plan import apply, plan
from loopline.loop.replay import Period, assumptions, replay
from loopline.loop.status import status
from loopline.loop.turn import TurnSummary, run_turn
from loopline.loop.why import why
from loopline.models import decision_versions, registry
from loopline.models.manifest import read_manifest
from loopline.monitoring.watch import list_monitors
from loopline.values import Window

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LATE = {"project": "parcels", "model": "late"}
TERMS = {"environments": ("staging", "production"), "approve": ll.approval(expires="3d", to="board")}


def released(loop: Loop, *, calm=(), owner: str = "team-risk", **terms) -> Loop:
    """The small loop with environments and approvals declared."""
    operation = replace(loop.operations["late"], **(terms or TERMS))
    return replace(loop, operations={"late": operation}, owner=owner, calm=calm)


class World:
    """The loop in operation on a home of its own, scored in batch, its clock turned by hand."""

    def __init__(self, folder: Path, loop: Loop, *, now: datetime = START) -> None:
        self.folder, self.loop, self.clock = folder, loop, ReplayClock(now)
        settings = Settings.read(folder, environment={"LOOPLINE_DURABLE": "0"})
        self.resources = open_home(settings, clock=self.clock, seed=7, silent=True)
        apply(self.resources.database, loop, actor="local:ann", at=now)
        history = History(self.resources.tables)
        [self.work] = lane_works(self.resources, loop, history, compare=False)
        self._due = Due(history)

    def turn(self, days: float = 1) -> TurnSummary:
        begin, end = self.clock.now(), self.clock.now() + days * DAY
        self.clock.turn_to(end)
        ingest_until(self.resources, self.loop, end, begin=START)
        window = Window(begin, end)
        number = (end - START) // HOUR
        done = run_turn(self.work, number=number, window=window, due=self._due.rows(self.work.lane, window))
        publish(self.resources, "parcels", at=datetime(2026, 1, 1, tzinfo=UTC))
        return done

    def champions(self) -> dict[str, int | None]:
        [project] = status(self.resources)
        return {place.endpoint: place.version for model in project.models for place in model.environments}

    def served(self) -> dict[str, int]:
        manifest = read_manifest(manifest_path(self.resources, "parcels"), self.resources.key.public)
        return {found.endpoint: found.version for found in manifest.deployments}

    def asked(self):
        with self.resources.database.reading() as tx:
            return approval.find(tx, "parcels")

    def kinds(self, after: int = 0) -> list[str]:
        with self.resources.database.reading() as tx:
            chain.verify(tx, "parcels")
            return [entry.kind for entry in chain.entries(tx, "parcels", after=after)]

    def person(self, name: str, *roles: str):
        with self.resources.database.transaction() as tx:
            create_principal(tx, name, "person", roles, START)
            secret, _ = issue_token(tx, name, scopes=None, expires_at=START + 300 * DAY, at=START, name="t")
            return authenticate(tx, secret, START)

    def approve(self, who) -> None:
        handling.approve(self.resources, who, project="parcels", approval_id=self.asked()[-1].id, reason="fine")


@pytest.fixture(scope="session")
def staged(small_loop, tmp_path_factory) -> World:
    """After the first training: version 1 serves in staging and waits for production."""
    world = World(tmp_path_factory.mktemp("staged") / "home", released(small_loop))
    for _ in range(15):
        world.turn()
    return world


@pytest.fixture
def world(staged, tmp_path) -> World:
    return another(staged, tmp_path, staged.loop)


def another(staged: World, folder: Path, loop: Loop) -> World:
    """A copy of the home, operated by this loop."""
    with staged.resources.database.transaction():
        shutil.copytree(staged.folder, folder / "home")
    return World(folder / "home", loop, now=staged.clock.now())


def test_gates_promote_into_the_first_environment_and_the_next_waits(world):
    assert world.champions() == world.served() | {"late": None} == {"late@staging": 1, "late": None}
    assert world.served() == {"late": 0, "late@staging": 1}
    [found] = world.asked()
    assert (found.state, found.environment, found.version) == ("asked", "production", 1)
    assert found.authors == ("local:ann",)
    with world.resources.database.reading() as tx:
        told = [one for one in outbox.waiting(tx, "parcels") if one.message["event"] == "approval.asked"]
        assert list_monitors(tx, "parcels") == []
    assert [(one.to, one.message["approval"]) for one in told] == [("board", found.id)]
    assert world.turn().action is None  # it waits, and trains no other
    assert len(world.asked()) == 1


def test_approved_it_enters_at_the_next_turn_with_its_decision_and_its_promise(world):
    with pytest.raises(NotPermitted, match="made or asked"):
        world.approve(world.person("ann", "approver"))
    world.approve(world.person("bob", "approver"))
    assert world.champions()["late"] is None
    done = world.turn()
    assert (done.action, done.changed) == ("promote", True)
    assert world.served() == {"late": 1, "late@staging": 1}
    assert world.kinds()[-4:] == ["approval.approved", "approval.used", "promotion", "action"]
    with world.resources.database.reading() as tx:
        [monitor] = list_monitors(tx, "parcels")
        [entry] = chain.entries(tx, "parcels", kind="promotion", newest_first=True, limit=1)
    assert monitor.watermark == world.clock.now()
    assert entry.body["evidence"]["approval"]["by"] == "bob"
    assert world.turn().action is None  # it is used up


def test_rejected_or_expired_it_never_enters(world):
    bob = world.person("bob", "approver")
    handling.reject(world.resources, bob, project="parcels", approval_id=world.asked()[0].id, reason="no")
    world.turn()
    assert world.champions()["late"] is None
    with pytest.raises(Conflict, match="rejected by bob"):
        world.approve(bob)


def test_what_nobody_decides_expires_and_the_owner_hears_of_it(world):
    for _ in range(3):
        world.turn()
    assert next(one.state for one in world.asked()) == "expired"
    with world.resources.database.reading() as tx:
        assert "approval.expired" in [one.message["event"] for one in outbox.waiting(tx, "parcels")]


def test_a_role_that_is_lost_before_the_turn_lets_nothing_in(world):
    world.approve(world.person("bob", "approver"))
    with world.resources.database.transaction() as tx:
        set_roles(tx, "bob", ["viewer"])
    done = world.turn()
    assert (done.action, done.changed) == ("promote", False)
    assert "has not the role" in (done.outcome or "")
    assert (world.champions()["late"], world.asked()[0].state) == (None, "asked")


def test_frozen_it_waits_and_enters_once_that_is_over(world):
    world.approve(world.person("bob", "approver"))
    changes.freeze(world.resources, project="parcels", actor="eve", reason="strike")
    assert world.turn().outcome == "frozen by eve: strike"
    assert world.champions()["late"] is None
    changes.unfreeze(world.resources, project="parcels", actor="eve", reason="over")
    assert world.turn().changed
    assert world.champions()["late"] == 1


def test_in_a_freeze_window_it_waits_until_that_ends(staged, tmp_path, small_loop):
    """The first turn ends on Saturday, 17 January 2026, the third on Monday."""
    calm = [ll.freeze_window("Fri 18:00", "Mon 00:00", zone="UTC")]
    terms = {**TERMS, "approve": ll.approval(expires="5d")}
    world = another(staged, tmp_path, released(small_loop, calm=calm, **terms))
    world.approve(world.person("bob", "approver"))
    held = [world.turn() for _ in range(2)]
    assert [(one.action, one.changed) for one in held] == [("promote", False)] * 2
    assert held[1].outcome == "in a freeze window until 2026-01-19 00:00 UTC"
    [project] = status(world.resources)
    assert project.calm is not None
    assert project.calm.now
    assert world.turn().changed
    assert world.champions()["late"] == 1


def test_by_hand_a_version_waits_too_and_enters_at_once_when_it_was_approved(world):
    def promote(**said):
        return changes.promote(world.resources, **LATE, version=1, actor="local:eve", reason="now", **said)

    assert not promote().changed
    assert len(world.asked()) == 1
    world.approve(world.person("bob", "approver"))
    world.clock.turn_to(world.clock.now() + HOUR)
    assert promote().changed
    assert world.served()["late"] == 1
    assert promote().sentence == "Version 1 is the champion already."


def test_environments_are_not_skipped_and_unknown_ones_are_refused(world):
    with world.resources.database.transaction() as tx:
        first = registry.get_version(tx, "parcels", "late", 1)
        registry.register_version(
            tx,
            **LATE,
            package=first.package,
            envelope=first.envelope,
            run_id=None,
            lineage={},
            metrics={},
            at=world.clock.now(),
            cause="by hand",
            created_by="cyd",
        )
    before = world.kinds()
    attempts = {
        "environment.skipped": lambda: changes.promote(
            world.resources, **LATE, version=2, actor="a", reason="r", to="production"
        ),
        "environment.unknown": lambda: changes.promote(
            world.resources, **LATE, version=2, actor="a", reason="r", to="moon"
        ),
        "approval.needed": lambda: changes.roll_back(world.resources, **LATE, actor="a", reason="r", to=2),
    }
    for code, attempt in attempts.items():
        with pytest.raises(LooplineError) as caught:
            attempt()
        assert caught.value.code == code
    assert world.kinds() == before


def test_a_version_registered_by_hand_has_its_maker_as_author(world):
    with world.resources.database.transaction() as tx:
        first = registry.get_version(tx, "parcels", "late", 1)
        registry.register_version(
            tx,
            **LATE,
            package=first.package,
            envelope=first.envelope,
            run_id=None,
            lineage={},
            metrics={},
            at=world.clock.now(),
            cause="by hand",
            created_by="cyd",
        )
    done = changes.promote(world.resources, **LATE, version=2, actor="local:dan", reason="try", to="staging")
    assert "waits for approval" in done.sentence
    newest = world.asked()[-1]
    assert (newest.version, newest.authors) == (2, ("cyd", "local:ann", "local:dan"))
    assert world.asked()[0].state == "withdrawn"
    assert world.champions() == {"late@staging": 2, "late": None}
    back = changes.roll_back(world.resources, **LATE, actor="eve", reason="worse", environment="staging")
    assert back.sentence == "Version 1 serves again in place of 2."
    assert world.champions() == {"late@staging": 1, "late": None}


def test_staging_has_predictions_of_its_own(world):
    manifest = read_manifest(manifest_path(world.resources, "parcels"), world.resources.key.public)
    assert [(one.endpoint, one.model) for one in manifest.deployments] == [
        ("late", "late"),
        ("late@staging", "late@staging"),
    ]
    with pytest.raises(NotFound):
        why(world.resources, "pr_none")


def test_owners_and_routes_are_in_the_plan_and_a_loop_without_them_means_what_it_did(small_loop, world):
    said = describe(small_loop)
    assert "people" not in said
    assert not {"environments", "approve"} & said["operations"]["late"].keys()
    moved = plan(world.resources.database, released(small_loop, owner="team-ops"))
    [change] = [one for one in moved.changes if one.path.startswith("people")]
    assert (change.path, change.before, change.after) == ("people.owner", "team-risk", "team-ops")


@pytest.mark.parametrize(("assume", "day"), [("0s", 14), ("2d", 16)])
def test_a_replay_assumes_the_approvals_and_says_so(small_loop, tmp_path, assume, day):
    terms = {**TERMS, "approve": ll.approval(expires="9d", assume=assume)}
    loop = released(small_loop, **terms)
    clock = ReplayClock(START)
    settings = Settings.read(tmp_path / "home", environment={"LOOPLINE_DURABLE": "0"})
    resources = open_home(settings, clock=clock, seed=7, silent=True)

    def works(history):
        return lane_works(resources, loop, history, compare=True)[:1]

    replay(resources, loop, Period(START, START + 18 * DAY), works, progress=lambda *_: None)
    with resources.database.reading() as tx:
        history = registry.alias_history(tx, "parcels", "late", "champion")
        assert outbox.waiting(tx, "parcels") == []
        assert approval.find(tx, "parcels", only_open=True) == []
    assert next((one.version, one.from_at) for one in history) == (1, START + day * DAY)
    when = "at once" if assume == "0s" else "2d after they are asked for"
    assert f"approvals of late for production are given {when}" in assumptions(loop)


def test_without_an_approval_a_replay_has_people_move_versions_on(small_loop):
    loop = released(small_loop, environments=("staging", "production"))
    assert "people move versions of late on to production at once" in assumptions(loop)


@pytest.mark.parametrize(
    "said",
    [
        {"environments": []},
        {"environments": ["a b"]},
        {"environments": ["staging", "staging"]},
        {"environments": ["champion"]},
        {"environments": "production production"},
        {"approve": ll.approval(environments=["staging"])},
    ],
)
def test_environments_that_make_no_sense_are_refused(small_loop, said):
    found = small_loop.operations["late"]
    with pytest.raises(LooplineError):
        ll.Loop("parcels").operate(found.model, decide=found.decide, promote=[], watch=found.watch, **said)


def without(loop: Loop, **terms) -> Loop:
    """The loop with other terms of release, or with none."""
    return released(loop, **{"environments": ("staging", "production"), **terms})


def put(world: World, loop: Loop, actor: str = "local:ann"):
    return apply(world.resources.database, loop, actor=actor, at=world.clock.now())


def refused(world: World, loop: Loop, actor: str = "local:ann") -> None:
    sequence = applied(world)
    with pytest.raises(Conflict, match="takes the approval of a person with the role 'approver'") as told:
        put(world, loop, actor)
    assert told.value.code == "approval.asked_for"
    assert applied(world) == sequence


def applied(world: World) -> int:
    with world.resources.database.reading() as tx:
        return store.latest_applied(tx, "parcels")["sequence"]


@pytest.mark.parametrize(
    "terms",
    [
        {"approve": None},
        {"approve": ll.approval(role="admin")},
        {"approve": ll.approval(environments=["staging"])},
        {"approve": None, "environments": ("staging", "live")},
        {"approve": ll.approval(environments=["staging"]), "environments": ("staging", "production", "live")},
        {"approve": None, "environments": ("production",)},
    ],
)
def test_whoever_applies_cannot_take_an_approval_away_alone(world, small_loop, terms):
    loop = without(small_loop, **terms)
    [said] = plan(world.resources.database, loop).loosened
    assert said.startswith("letting late enter ")
    refused(world, loop)
    with pytest.raises(NotPermitted, match="made or asked"):
        world.approve(world.person("ann", "approver"))
    refused(world, loop)  # it asks for the same again
    assert [one.environment for one in world.asked()].count("approvals") == 1
    world.approve(world.person("bob", "approver"))
    assert put(world, loop).changes
    assert world.asked()[-1].state == "used"
    if terms["approve"] is None and "environments" not in terms:
        world.turn()
        put(world, world.loop)
        refused(world, loop)  # a word counts once


def test_the_word_is_for_these_terms_and_expires(world, small_loop):
    bob = world.person("bob", "approver")
    refused(world, without(small_loop, approve=None))
    world.approve(bob)
    refused(world, without(small_loop, approve=ll.approval(role="admin")))
    world.clock.turn_to(world.clock.now() + 4 * DAY)
    refused(world, without(small_loop, approve=None))


def test_leaving_the_model_out_for_a_while_is_no_way_around(world, small_loop):
    put(world, replace(small_loop, operations={}))
    refused(world, without(small_loop, approve=None))
    assert put(world, released(small_loop)).changes


def test_asking_for_more_and_other_changes_need_no_word(world, small_loop):
    more = ll.approval(expires="1d", environments=["staging", "production"])
    assert put(world, without(small_loop, approve=more), "local:eve").changes
    assert put(world, replace(without(small_loop, approve=more), owner="somebody"), "local:eve").changes


def in_force(world: World) -> float:
    with world.resources.database.reading() as tx:
        found = decision_versions.current_decision(tx, "parcels", "late")
    assert found is not None
    return found.body["threshold"]


def test_another_decision_for_what_serves_takes_an_approval_too(world):
    bob = world.person("bob", "approver")
    world.approve(bob)
    world.turn()
    before = in_force(world)
    asked = Asked(false_positive=1.0, false_negative=9.0)
    said = {"asked": asked, "actor": "local:ann", "reason": "misses are dear"}
    waiting = decide(world.resources, **LATE, **said)
    assert (waiting.version, in_force(world)) == (None, before)
    assert waiting.approval == world.asked()[-1].id
    assert "waits for approval" in waiting.sentence
    with pytest.raises(NotPermitted, match="made or asked"):
        world.approve(world.person("ann", "approver"))
    world.approve(bob)
    assert world.turn().action is None  # a version has nothing of it
    other = decide(world.resources, **LATE, **said | {"asked": Asked(false_positive=1.0, false_negative=99.0)})
    assert (other.version, in_force(world)) == (None, before)
    anew = decide(world.resources, **LATE, **said).approval  # the other request took the place of the first
    handling.approve(world.resources, bob, project="parcels", approval_id=anew, reason="fine")
    done = decide(world.resources, **LATE, **said)
    assert done.version is not None
    assert in_force(world) == pytest.approx(0.1)
    again = decide(world.resources, **LATE, **said | {"asked": Asked(false_positive=1.0, false_negative=4.0)})
    assert again.version is None


def test_other_costs_in_the_file_wait_for_an_approval_and_are_asked_for_once(world, small_loop):
    bob = world.person("bob", "approver")
    world.approve(bob)
    world.turn()
    before = in_force(world)
    loop = released(small_loop)
    dear = replace(loop.operations["late"], decide=ll.costs(false_positive=1, false_negative=19))
    loop = replace(loop, operations={"late": dear})
    put(world, loop)
    follow_declarations(world.resources, "parcels", ["late"], actor="local:ann")
    assert in_force(world) == before
    handling.reject(world.resources, bob, project="parcels", approval_id=world.asked()[-1].id, reason="no")
    count = len(world.asked())
    world.turn()
    assert (in_force(world), len(world.asked())) == (before, count)
