"""A canary in operation: what the log and the labels say of it rolls it back or forward, once, and never while frozen."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import msgspec
import numpy as np
import polars as pl
import pytest

import loopline as ll
from loopline.app.work import lane_works
from loopline.errors import InvalidInput
from loopline.gates import variants
from loopline.gates.canary_terms import CanaryTerms, canary_terms
from loopline.gates.promotion import CHAMPION
from loopline.gates.variants import Deployed, Wanted
from loopline.incidents import outbox
from loopline.incidents.freeze import freeze
from loopline.ledger import chain
from loopline.loop import changes, deploy
from loopline.loop.canary import CanaryWatch, judge
from loopline.loop.canary_rows import Judging, Progress, progress_of, read_on
from loopline.loop.history import History
from loopline.loop.turn import LaneWork
from loopline.models import registry
from loopline.models.manifest import PackagedVersion, Variant
from loopline.scoring.block import Block
from loopline.scoring.block_frame import prediction_frame
from loopline.scoring.record import Prediction, prediction_table
from loopline.scoring.variants import Shares

ANN = {"actor": "ann", "reason": "to see"}
TERMS = canary_terms(slow=None, min_rows=100, min_time="1m")
SECOND = timedelta(seconds=1)


@dataclass
class World:
    """A copy of the replayed home, with a canary and made-up traffic."""

    resources: object
    work: LaneWork
    watch: CanaryWatch = field(init=False)
    count: int = 0
    sequence: int = 0

    def __post_init__(self) -> None:
        self.watch = CanaryWatch([self.work])

    def deploy(self, terms: CanaryTerms = TERMS, *, share: float = 0.2, version: int = 2) -> Deployed:
        said = Wanted(
            project="parcels",
            model="late",
            environment="production",
            version=version,
            role="canary",
            share=share,
            terms=terms,
        )
        deploy.deploy(self.resources, said, **ANN)
        return self.canary()

    def canary(self) -> Deployed:
        with self.resources.database.reading() as tx:
            return variants.find(tx, "parcels", model="late")[-1]

    def champion(self) -> int | None:
        with self.resources.database.reading() as tx:
            return registry.alias(tx, "parcels", "late", CHAMPION)

    def traffic(self, rows: int, *, fails: float = 0.0, both: float = 0.0, keys=None, at=None, score=None) -> None:
        """Requests of one row each, a second apart, shared out as the engine would; `fails` is how often the canary cannot answer."""
        with self.resources.database.reading() as tx:
            running = variants.find(tx, "parcels", model="late", only_running=True)
        line = [one for one in running if one.answers]
        chance = np.random.default_rng(self.sequence + 1)
        shares = Shares([_served(one) for one in line])
        names = keys or [f"k{self.count + number}" for number in range(rows)]
        made = []
        for key in names:
            moment = self.resources.clock.now() + SECOND
            self.resources.clock.turn_to(moment)
            variant = shares.choose(key)
            degraded = ("feature_missing:n_1d",) if chance.random() < both else ()
            if variant != "champion" and chance.random() < fails:
                variant, degraded = "champion", (*degraded, f"variant_failed:{variant}")
            made.append(
                Prediction(
                    prediction_id=f"t{self.sequence}-{key}",
                    project="parcels",
                    endpoint="late",
                    model="late",
                    model_version=1 if variant == "champion" else line[0].version,
                    decision_version=1,
                    variant=variant,
                    key=key,
                    at=moment if at is None else at(key),
                    scored_at=moment,
                    score=0.5 if score is None else score(variant, key),
                    decision="negative",
                    degraded=degraded,
                )
            )
        self.count += 0 if keys else rows
        self.append(prediction_frame([Block.of(one) for one in made]))

    def append(self, frame: pl.DataFrame) -> None:
        table = self.resources.tables.open(prediction_table("parcels", "late"))
        columns = table.schema.columns
        absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in columns.items() if name not in frame.columns]
        self.sequence += 1
        table.append(frame.with_columns(absent), writer="test", sequence=self.sequence)

    def look(self) -> list[str]:
        return [done.sentence for done in self.watch.look(self.resources.clock.now())]

    def last(self, kind: str) -> chain.Entry:
        with self.resources.database.reading() as tx:
            chain.verify(tx, "parcels")
            return chain.entries(tx, "parcels", kind=kind, newest_first=True, limit=1)[0]


def _served(one: Deployed) -> Variant:
    served = PackagedVersion(version=one.version, package="", package_envelope="")
    return Variant(name=one.name, role=one.role, served=served, share=one.share, salt=one.salt, spans=one.spans)


@pytest.fixture
def world(copied, small_loop) -> Iterator[World]:
    [work] = lane_works(copied, small_loop, History(copied.tables), compare=False)
    return World(copied, work)


def test_a_canary_that_fails_is_rolled_back_after_few_rows(world):
    world.deploy()
    world.traffic(40, fails=1.0)
    [told] = world.look()
    assert told.startswith("Canary v2 (version 2 of late) was rolled back. errors: 1 against the champion's 0 on ")
    ended = world.canary()
    assert (ended.state, ended.outcome, ended.ended_by, world.champion()) == ("ended", "rolled_back", "loop", 1)
    assert world.last("variant.ended").body["evidence"]["measures"]["errors"]["harm"] >= 1
    with world.resources.database.reading() as tx:
        assert [one.message["event"] for one in outbox.waiting(tx, "parcels")][-1] == "canary"
    assert world.look() == []


def test_a_canary_shown_to_be_no_worse_is_promoted_with_its_decision(world):
    world.deploy(replace_terms(errors=0.05), share=0.5)
    for _ in range(12):
        world.traffic(100, both=0.01)
        if world.look():
            break
    assert (world.canary().outcome, world.champion()) == ("promoted", 2)
    promotion = world.last("promotion").body
    assert (promotion["version"], promotion["replaces"], promotion["evidence"]["variant"]) == (2, 1, world.canary().id)
    assert promotion["evidence"]["measures"]["errors"]["sound"] >= 1


def test_what_fails_for_both_is_not_held_against_the_canary(world):
    world.deploy()
    for number in range(10):
        world.traffic(60, both=float(number % 2))
        world.look()
    assert world.canary().state == "running"


def test_one_that_fails_where_the_champion_is_only_degraded_is_rolled_back(world):
    """The same odd input in every row: the champion flags it, the canary cannot answer it."""
    world.deploy()
    world.traffic(150, fails=1.0, both=1.0)
    assert len(world.look()) == 1
    total = progress_of(world.canary()).errors.total
    assert (total.trial_sum, total.standing_sum) == (total.trial, total.standing / 2)
    assert world.canary().outcome == "rolled_back"


def test_it_waits_for_rows_and_time_before_it_promotes(world):
    canary = world.deploy(canary_terms(slow=None, min_rows=400, min_time="2h", errors=0.1))
    world.traffic(1500)
    world.look()
    assert progress_of(world.canary()).errors.total.trial < 400
    world.traffic(1500)
    world.look()
    assert progress_of(world.canary()).errors.total.trial >= 400
    assert world.canary().state == "running"
    world.resources.clock.turn_to(canary.started_at + timedelta(hours=3))
    world.look()
    assert world.canary().outcome == "promoted"


def test_its_share_grows_in_steps_before_it_is_promoted(world):
    world.deploy(canary_terms(slow=None, min_rows=60, min_time="1m", errors=0.1, steps=[0.1, 0.5]), share=0.05)
    seen = []
    for _ in range(25):
        world.traffic(150)
        world.look()
        seen.append(world.canary().share)
        if world.canary().state == "ended":
            break
    assert sorted(set(seen)) == [0.05, 0.1, 0.5]
    assert world.canary().outcome == "promoted"
    with world.resources.database.reading() as tx:
        shares = chain.entries(tx, "parcels", kind="variant.share")
    assert [(one.body["before"], one.body["share"]) for one in shares] == [(0.05, 0.1), (0.1, 0.5)]


def test_looking_often_comes_to_the_same_as_looking_once(world):
    canary = world.deploy(replace_terms(promotes=False))
    for _ in range(6):
        world.traffic(37, fails=0.05, both=0.02)
        world.look()
    often = progress_of(world.canary())
    judging = Judging(world.resources, world.work.lane, world.work.history, canary, canary.terms)
    once = read_on(judging, Progress(share=canary.share), world.resources.clock.now())
    assert once.errors.blocks == often.errors.blocks > 10
    assert once.errors.total == often.errors.total
    assert once.errors.harm_evidence == pytest.approx(often.errors.harm_evidence)
    assert (once.read, once.errors.under_way) == (often.read, often.errors.under_way)


def replace_terms(**said) -> CanaryTerms:
    return msgspec.structs.replace(TERMS, **said)


def test_a_look_that_was_not_kept_is_taken_again_and_one_that_was_is_not_repeated(world):
    world.deploy(replace_terms(promotes=False))
    world.traffic(100, fails=0.1)
    world.look()
    kept = world.canary().progress
    CanaryWatch([world.work]).look(world.resources.clock.now())  # another process, as after a crash
    assert world.canary().progress == kept


def test_a_key_that_asks_again_and_again_counts_once_an_hour(world):
    canary = world.deploy(replace_terms(promotes=False), share=0.5)
    shares = Shares([_served(canary)])
    own = [f"x{number}" for number in range(200) if shares.choose(f"x{number}") == "v2"]
    other = [f"x{number}" for number in range(200) if shares.choose(f"x{number}") == "champion"]
    for _ in range(20):
        world.traffic(0, keys=[own[0], other[0]], fails=1.0)
        world.look()
    total = progress_of(world.canary()).errors.total
    assert total.trial == total.trial_sum <= 2
    assert world.canary().state == "running"


def test_frozen_it_is_watched_and_nothing_is_changed(world):
    world.deploy()
    with world.resources.database.transaction() as tx:
        freeze(tx, project="parcels", by="ann", reason="moving", at=world.resources.clock.now())
    world.traffic(60, fails=1.0)
    assert world.look() == []
    canary = world.canary()
    assert canary.state == "running"
    assert judge(canary, progress_of(canary), canary.terms, world.resources.clock.now()).action == "roll_back"
    changes.unfreeze(world.resources, project="parcels", **ANN)
    world.traffic(1)
    assert len(world.look()) == 1
    assert world.canary().outcome == "rolled_back"


def test_in_a_freeze_window_it_is_rolled_back_but_not_promoted(world):
    now = world.resources.clock.now()
    calm = (ll.freeze_window(f"{now:%Y-%m-%d}", f"{now + timedelta(days=5):%Y-%m-%d}"),)
    people = msgspec.structs.replace(world.work.lane.people, calm=calm)
    world.work = replace(world.work, lane=replace(world.work.lane, people=people))
    world.watch = CanaryWatch([world.work])
    world.deploy(replace_terms(errors=0.1))
    world.traffic(2000)
    world.look()
    assert world.canary().state == "running"
    world.traffic(300, fails=1.0)
    world.look()
    assert world.canary().outcome == "rolled_back"


def with_latency(world: World, rows: int, slow) -> None:
    """Traffic whose answers took 1 to 2 ms; those for which `slow` says so took 9."""
    append, chance = world.append, np.random.default_rng(rows)

    def timed(frame: pl.DataFrame) -> None:
        took = [9.0 if slow(name) else 1 + chance.random() for name in frame["variant"]]
        append(frame.with_columns(latency_ms=pl.Series(took, dtype=pl.Float64)))

    world.append = timed
    world.traffic(rows)
    world.append = append


def test_a_slow_canary_is_rolled_back_and_measured_time_stays_out_of_the_digest(world):
    """The limit is set by the champion's first answers, which are not counted again."""
    world.deploy(replace_terms(slow=0.05))
    with_latency(world, 150, lambda name: name == "v2")
    world.look()
    assert progress_of(world.canary()).slow_ms is None
    with_latency(world, 250, lambda name: name == "v2")
    [told] = world.look()
    assert told.endswith("was rolled back. slow: more of its answers are slow than is tolerated.")
    found = progress_of(world.canary())
    assert 1.5 * 1.9 < found.slow_ms < 1.5 * 2
    assert found.slow.total.standing < 200  # of more than 300, the first 200 set the limit
    assert found.slow.total.trial == found.slow.total.trial_sum
    entry = world.last("variant.ended")
    assert set(entry.body["evidence"]["measures"]) == {"errors"}
    assert entry.measured["slow"]["canary"] == 1


def test_answers_of_the_champion_before_the_canary_set_the_limit_where_there_are_enough(world):
    with_latency(world, 300, lambda _: False)
    world.deploy(replace_terms(slow=0.05))
    with_latency(world, 200, lambda name: name == "v2")
    assert len(world.look()) == 1
    found = progress_of(world.canary())
    assert found.slow.total.standing + found.slow.total.trial == 200
    assert world.canary().outcome == "rolled_back"


def test_one_as_fast_as_the_champion_is_promoted(world):
    with_latency(world, 300, lambda _: False)
    world.deploy(replace_terms(slow=0.05, errors=0.05), share=0.5)
    for _ in range(8):
        with_latency(world, 100, lambda _: False)
        world.look()
    assert world.canary().outcome == "promoted"


def labels_of(world: World) -> dict[str, float]:
    """The label of each parcel that has one, as the deliveries tell it."""
    history = world.resources.tables.open("parcels.deliveries").read()
    label = world.work.lane.operation.model.label
    return dict(history.select("_key", label.expression.cast(pl.Float64).alias("label")).iter_rows())


@pytest.mark.parametrize(("worse", "outcome"), [("v2", "rolled_back"), ("champion", "promoted")])
def test_matured_labels_decide_between_the_arms(world, worse, outcome):
    """One arm is told the label and the other its opposite; all else is equal."""
    labels = labels_of(world)
    keys = sorted(labels)[-150:]
    world.deploy(replace_terms(labels=0.05, loss="brier", errors=0.1), share=0.5)

    def score(variant: str, key: str) -> float:
        return abs(labels[key] - (1.0 if variant == worse else 0.0))

    world.traffic(0, keys=keys, score=score)
    world.look()
    assert progress_of(world.canary()).labels.blocks == 0  # they have not matured
    world.resources.clock.turn_to(world.resources.clock.now() + timedelta(days=2))
    world.traffic(150)
    world.look()
    found = world.canary()
    state = progress_of(found).labels
    assert state.total.trial + state.total.standing == len(keys)
    assert (state.total.trial_sum == state.total.trial) == (worse == "v2")
    assert found.outcome == outcome


def test_terms_that_no_test_can_be_made_of_are_refused():
    for said in (
        {"alpha": 0.0},
        {"errors": 1.0},
        {"slow": 0.0},
        {"labels": 2.0},
        {"min_rows": 0},
        {"steps": [0.5, 0.1]},
    ):
        with pytest.raises(InvalidInput) as caught:
            canary_terms(**said)
        assert caught.value.code == "canary.terms"
    assert canary_terms(labels=2.0, loss="squared_error", cap=10.0).labels == 2.0
