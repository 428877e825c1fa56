"""What must hold where a step is handed over to the worker that ended the one before. Subclass `HandingOverSuite` and give it a fixture `database_url`."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import loopline as ll
from loopline.clock import SystemClock
from loopline.pipelines import reading
from loopline.pipelines.advance import Committed, complete, release
from loopline.pipelines.claims import ANY_CORES, Room, beat, claim, expired
from loopline.pipelines.codecs import keep
from loopline.pipelines.completion import Taker
from loopline.pipelines.declare import Pipeline
from loopline.pipelines.engine import Claimed, Engine
from loopline.pipelines.executions import cancel, submit
from loopline.pipelines.failing import lose
from loopline.pipelines.inline import Inline
from loopline.pipelines.perform import Performed
from loopline.pipelines.planning import plan
from loopline.pipelines.taking import Taken, commit, take
from loopline.storage.artifacts import open_artifacts
from loopline.storage.database import Database
from loopline.storage.statements import Session, Sql, Statements
from loopline.testing.opened import OpenedDatabase

_END_LEASES = Sql("update step set leased_until = 0 where state = 'running'")
_LATER = Sql("update step set ready_at = ready_at + 60000 where state = 'ready'")
_ALL = Sql("select * from step order by execution, number"), Sql("select * from event order by id")
_RUNS = Sql("select execution, number, attempt from step where worker = ?")


@ll.step
def first(value: int) -> int:
    """The next number."""
    return value + 1


@ll.step
def then(value: int) -> int:
    """The next number."""
    return value + 1


@ll.step(cores=2)
def wide(value: int) -> int:
    """Asks for two cores."""
    return value


@ll.step(limit="few")
def limited(value: int) -> int:
    """One at a time."""
    return value


@ll.step
def positive(value: int) -> bool:
    """Whether it is above nothing."""
    return value > 0


@ll.step
def both(one: int, other: int) -> int:
    """Their sum."""
    return one + other


@ll.pipeline
def chain(value: int) -> Any:
    """Three, one after the other."""
    return then(then(first(value)))


@ll.pipeline
def long(length: int) -> Any:
    """As many, one after the other."""
    value: Any = 0
    for _ in range(length):
        value = then(value)
    return value


@ll.pipeline
def widening(value: int) -> Any:
    """Ends with one that asks for two cores."""
    return wide(first(value))


@ll.pipeline(limits={"few": "1"})
def limiting(value: int) -> Any:
    """Ends with one that waits for a limit."""
    return limited(first(value))


@ll.pipeline
def joining(value: int) -> Any:
    """The last waits for two."""
    return both(first(value), then(value))


@ll.pipeline
def forking(value: int) -> Any:
    """Two wait for the first."""
    one = first(value)
    return [then(one), wide(one)]


@ll.pipeline
def fanning(value: int) -> Any:
    """What waits is a fan-out."""
    return then.each([first(value)])


@ll.pipeline
def choosing(value: int) -> Any:
    """What waits has a condition."""
    return then(value, when=positive(first(value)))


class HandingOverSuite(OpenedDatabase):
    """Who gets a step that became ready with the end of another, and that nothing else is promised less for it."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Engine:
        return Engine(open_artifacts(str(tmp_path / "artifacts")), SystemClock(), lease_ms=60_000)

    def submitted(self, database: Database, engine: Engine, pipeline: Pipeline, value: int, priority: int = 0) -> str:
        planned = plan(pipeline, {"value": value}, engine.artifacts)
        with database.transaction() as tx:
            return submit(tx, engine, planned, priority=priority, fresh=True)[0]

    def claimed(self, database: Database, engine: Engine, worker: str = "w", room: Room | None = None) -> Claimed:
        with database.transaction() as tx:
            found = claim(engine, Statements.of(tx), worker, room=room)
        assert found is not None
        return found

    def completed(
        self, database: Database, engine: Engine, claimed: Claimed, room: Room | None = None, of: str | None = None
    ) -> Committed | None:
        taker, result = Taker("w", room or Room(), of), keep(1, engine.artifacts)
        with database.transaction() as tx:
            return complete(engine, Statements.of(tx), claimed, result, worker="w", taker=taker)

    def handed(
        self, database: Database, engine: Engine, claimed: Claimed, room: Room | None = None, of: str | None = None
    ) -> str | None:
        done = self.completed(database, engine, claimed, room, of)
        assert done is not None
        return None if done.handed is None else done.handed.name

    def states(self, database: Database, execution: str) -> list[str]:
        with database.reading() as tx:
            return [step.state for step in reading.steps_of(tx, execution)]

    def dump(self, database: Database) -> list[Any]:
        with database.reading() as tx:
            return [Statements.of(tx).rows(one) for one in _ALL]

    def test_what_waits_alone_runs_from_the_commit_on_that_ended_the_one_before(
        self, database: Database, engine: Engine
    ) -> None:
        execution = self.submitted(database, engine, chain, 1)
        assert self.handed(database, engine, self.claimed(database, engine)) == "then"
        assert self.states(database, execution) == ["done", "running", "waiting"]
        with database.transaction() as tx:
            sql = Statements.of(tx)
            assert sql.rows(_RUNS, "w") == [(execution, 1, 1)]
            assert claim(engine, sql, "other") is None
            assert beat(engine, sql, "w") == {(execution, 1, 1)}
            assert expired(sql) == []
        with database.reading() as tx:
            told = [(one.kind, one.step, one.attempt, one.worker) for one in reading.events_of(tx, execution)]
            begun = [(one.attempt, one.state) for one in reading.attempts_of(tx, execution, 1)]
        assert told[1:] == [("started", "first", 1, "w"), ("done", "first", 1, "w"), ("started", "then", 1, "w")]
        assert begun == [(1, "running")]

    def test_nobody_but_who_asks_is_handed_anything(self, database: Database, engine: Engine) -> None:
        execution, claimed = self.submitted(database, engine, chain, 1), self.claimed(database, engine)
        with database.transaction() as tx:
            done = complete(engine, Statements.of(tx), claimed, keep(1, engine.artifacts), worker="w")
        assert done is not None
        assert done.handed is None
        assert self.states(database, execution) == ["done", "ready", "waiting"]

    @pytest.mark.parametrize(("priority", "handed"), [(-1, "then"), (0, None), (1, None)])
    def test_what_is_ready_already_at_the_same_priority_or_above_comes_first(
        self, database: Database, engine: Engine, priority: int, handed: str | None
    ) -> None:
        execution, claimed = self.submitted(database, engine, chain, 1), self.claimed(database, engine)
        other = self.submitted(database, engine, chain, 2, priority)
        assert self.handed(database, engine, claimed) == handed
        following = self.claimed(database, engine, "next")
        assert (following.execution, following.name) == (other, "first")
        assert self.states(database, execution)[1] == ("running" if handed else "ready")

    def test_what_is_to_be_tried_later_and_other_executions_of_a_worker_for_one_do_not_stand_in_the_way(
        self, database: Database, engine: Engine
    ) -> None:
        self.submitted(database, engine, chain, 1)
        claimed = self.claimed(database, engine)
        self.submitted(database, engine, chain, 2, priority=1)
        assert self.handed(database, engine, claimed, of=claimed.execution) == "then"
        claimed = self.claimed(database, engine)
        self.submitted(database, engine, chain, 3, priority=1)
        with database.transaction() as tx:
            Statements.of(tx).change(_LATER)
        assert self.handed(database, engine, claimed) == "then"

    @pytest.mark.parametrize("pipeline", [limiting, joining, forking, fanning], ids=lambda one: str(one.name))
    def test_what_has_a_limit_or_does_not_wait_alone_for_one_step_is_claimed_as_ever(
        self, database: Database, engine: Engine, pipeline: Pipeline
    ) -> None:
        self.submitted(database, engine, pipeline, 1)
        claims = [self.claimed(database, engine)]
        if pipeline is joining:
            claims.append(self.claimed(database, engine))
        assert self.handed(database, engine, claims[0]) is None
        if pipeline is joining:  # only the last that it waited for can hand it over
            assert self.handed(database, engine, claims[1]) == "both"
        else:
            self.claimed(database, engine)

    def test_a_limit_that_is_full_holds_what_became_ready(self, database: Database, engine: Engine) -> None:
        for value in (1, 2):
            self.submitted(database, engine, limiting, value)
        claims = [self.claimed(database, engine) for _ in range(2)]
        assert [self.handed(database, engine, one) for one in claims] == [None, None]
        running = self.claimed(database, engine)
        with database.transaction() as tx:
            assert claim(engine, Statements.of(tx), "w") is None
        assert self.handed(database, engine, running) is None
        assert self.claimed(database, engine).name == "limited"

    def test_what_has_no_limit_is_claimed_past_what_waits_for_one(self, database: Database, engine: Engine) -> None:
        for value in (1, 2):
            self.submitted(database, engine, limiting, value, priority=1)
        for claimed in [self.claimed(database, engine) for _ in range(2)]:
            assert self.handed(database, engine, claimed) is None
        self.submitted(database, engine, chain, 3)
        with database.transaction() as tx:
            found = [claim(engine, Statements.of(tx), "a")]
            if database.remote:  # while another looks at the limit
                found.append(self.claimed(database, engine, "b"))
        if not database.remote:
            found.append(self.claimed(database, engine, "b"))
        assert [one and one.name for one in found] == ["limited", "first"]

    def test_what_does_not_fit_is_not_handed_over(self, database: Database, engine: Engine) -> None:
        execution, claimed = self.submitted(database, engine, widening, 1), self.claimed(database, engine)
        assert self.handed(database, engine, claimed, Room(cores=1)) is None
        assert self.states(database, execution) == ["done", "ready"]
        self.submitted(database, engine, widening, 2)
        claimed = self.claimed(database, engine, room=Room(cores=1))
        with database.transaction() as tx:
            Statements.of(tx).change(_LATER)
        assert self.handed(database, engine, claimed, Room(cores=2)) == "wide"

    def test_whoever_is_fenced_is_handed_nothing(self, database: Database, engine: Engine) -> None:
        execution, stale = self.submitted(database, engine, chain, 1), self.claimed(database, engine, "stale")
        with database.transaction() as tx:
            release(engine, Statements.of(tx), execution, 0, 1, worker="stale")
        ours = self.claimed(database, engine)
        before = self.dump(database)
        assert self.completed(database, engine, stale) is None
        assert self.dump(database) == before
        assert self.handed(database, engine, ours) == "then"
        assert self.completed(database, engine, ours) is None
        assert self.states(database, execution) == ["done", "running", "waiting"]

    def test_what_is_cancelled_after_it_was_handed_over_commits_nothing_and_hands_nothing_on(
        self, database: Database, engine: Engine
    ) -> None:
        execution, claimed = self.submitted(database, engine, chain, 1), self.claimed(database, engine)
        done = self.completed(database, engine, claimed)
        with database.transaction() as tx:
            cancel(tx, engine, execution)
        before = self.dump(database)
        assert done is not None
        assert done.handed is not None
        assert self.completed(database, engine, done.handed) is None
        assert self.dump(database) == before
        assert self.states(database, execution) == ["done", "cancelled", "cancelled"]
        with database.transaction() as tx:
            assert beat(engine, Statements.of(tx), "w") == set()

    def test_a_worker_that_dies_right_after_the_commit_loses_it_to_another_when_the_lease_ends(
        self, database: Database, engine: Engine
    ) -> None:
        execution, claimed = self.submitted(database, engine, chain, 1), self.claimed(database, engine)
        done = self.completed(database, engine, claimed)
        with database.transaction() as tx:
            sql = Statements.of(tx)
            assert not lose(engine, sql, execution, 1, 1, worker="reaper")
            sql.change(_END_LEASES)
            assert expired(sql) == [(execution, 1, 1)]
            assert lose(engine, sql, execution, 1, 1, worker="reaper")
        again = self.claimed(database, engine, "other")
        assert (again.execution, again.number, again.attempt) == (execution, 1, 2)
        assert done is not None
        assert done.handed is not None
        before = self.dump(database)
        assert self.completed(database, engine, done.handed) is None
        assert self.dump(database) == before
        assert self.handed(database, engine, again) == "then-2"

    def test_the_same_step_is_next_as_without_handing_over(self, database: Database, engine: Engine) -> None:
        """Each commit is tried without, undone, and done with it."""
        chance, handed = random.Random(7), Counter[bool]()  # noqa: S311 - chance of a test
        for number, pipeline in enumerate([chain, widening, limiting, joining, forking, fanning, choosing] * 3):
            self.submitted(database, engine, pipeline, number, number if pipeline is chain else chance.randint(0, 20))
        running = [self.claimed(database, engine, room=Room(cores=1)) for _ in range(3)]
        while running:
            ended = running.pop(chance.randrange(len(running)))
            room = Room(cores=chance.choice([1.0, ANY_CORES]))
            without, taken, over = self.next_both_ways(database, engine, ended, room)
            assert (taken and (taken.execution, taken.number)) == without
            handed[over] += 1
            with database.transaction() as tx:
                taken = taken or claim(engine, Statements.of(tx), "w")
            running += [] if taken is None else [taken]
        with database.reading() as tx:
            assert {one.state for one in reading.find_executions(tx, limit=100)} == {"done"}
        assert min(handed[True], handed[False]) > 5, handed

    def next_both_ways(
        self, database: Database, engine: Engine, ended: Claimed, room: Room
    ) -> tuple[tuple[str, int] | None, Claimed | None, bool]:
        """The step that is next where nothing is handed over, by a commit that is undone; the one that was taken, and whether it was handed over."""
        result = keep(1, engine.artifacts)
        with database.engine.connect().execution_options(loopline_write=True) as tx, tx.begin() as undone:
            sql = Statements.of(tx)
            assert complete(engine, sql, ended, result, worker="w") is not None
            found = claim(engine, sql, "w", room=room)
            undone.rollback()
        with database.transaction() as tx:
            sql = Statements.of(tx)
            done = complete(engine, sql, ended, result, worker="w", taker=Taker("w", room))
            assert done is not None
            taken = done.handed or claim(engine, sql, "w", room=room)
        return None if found is None else (found.execution, found.number), taken, done.handed is not None

    def test_many_workers_that_hand_over_never_run_one_step_twice(self, database: Database, engine: Engine) -> None:
        executions = [self.submitted(database, engine, chain, value) for value in range(12)]
        result = Performed(keep(1, engine.artifacts))

        def work(name: str) -> int:
            taken: Taken | None = None
            done, taker = 0, Taker(name, Room())
            with closing(Session(database)) as session:
                while True:
                    with session.transaction() as sql:
                        after = None
                        if taken is not None:
                            after = commit(engine, sql, taken, result, worker=name, taker=taker)
                            assert after is not None
                            done += 1
                        taken, _ = take(engine, sql, name, after=after)
                    if taken is None:
                        return done

        with ThreadPoolExecutor(6) as pool:
            assert sum(pool.map(work, [f"w{number}" for number in range(6)])) == 36
        with database.reading() as tx:
            for execution in executions:
                assert reading.get_execution(tx, execution).state == "done"
                kinds = Counter((one.kind, one.step) for one in reading.events_of(tx, execution) if one.step)
                assert kinds == {
                    (kind, step): 1 for kind in ("started", "done") for step in ("first", "then", "then-2")
                }

    def test_what_is_handed_over_takes_what_was_given_and_what_the_cache_has(
        self, database: Database, engine: Engine, tmp_path: Path
    ) -> None:
        """More than one transaction takes from the cache: none of them claims what it leaves to the next."""
        inline = Inline(engine, database, tmp_path / "code")
        kinds = []
        for _ in range(2):
            planned = plan(long, {"length": 120}, engine.artifacts)
            with database.transaction() as tx:
                execution, _ = submit(tx, engine, planned)
            assert inline.run(execution) == "done"
            with database.reading() as tx:
                assert reading.result_of(tx, execution, engine.artifacts) == 120
                kinds.append(Counter(one.kind for one in reading.events_of(tx, execution)))
        assert kinds == [{"submitted": 1, "started": 120, last: 120, "ended": 1} for last in ("done", "reused")]
