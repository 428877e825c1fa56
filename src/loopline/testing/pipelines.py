"""What the pipeline engine must hold on every database. Subclass `PipelineSuite` and give it a fixture `database_url`."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import loopline as ll
from loopline.clock import SystemClock
from loopline.errors import Conflict
from loopline.pipelines import reading
from loopline.pipelines.advance import complete, release
from loopline.pipelines.again import resume
from loopline.pipelines.arguments import NOTHING
from loopline.pipelines.claims import Room, beat, claim, crowded_out, expired, held, ready_in
from loopline.pipelines.codecs import Value, keep
from loopline.pipelines.declare import Pipeline
from loopline.pipelines.engine import MOST_LOSSES, Claimed, Engine
from loopline.pipelines.executions import cancel, rerun, submit
from loopline.pipelines.failing import lose
from loopline.pipelines.inline import Inline
from loopline.pipelines.planning import plan
from loopline.pipelines.prune import Pruned, prune
from loopline.storage.artifacts import open_artifacts
from loopline.storage.database import Database
from loopline.storage.statements import Session, Sql, Statements
from loopline.testing.opened import OpenedDatabase
from loopline.testing.pipeline_examples import broken, calls, conditional, doubled, many, measured, retried

LEASE_MS = 60_000
_END_LEASES = Sql("update step set leased_until = 0 where state = 'running'")
_END_WAITS = Sql("update step set ready_at = 0 where state = 'ready'")
_GROW = Sql("update step set memory = 6")
_ALL_STEPS = Sql("select * from step order by execution, number")
_ALL_EXECUTIONS = Sql("select * from execution order by id")


class PipelineSuite(OpenedDatabase):
    """Claims, leases and fences; retries, skips, fan-out; cancel, resume and rerun; the cache and what heals it."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Engine:
        calls.clear()
        broken.clear()
        return Engine(open_artifacts(str(tmp_path / "artifacts")), SystemClock(), lease_ms=LEASE_MS)

    @pytest.fixture
    def inline(self, engine: Engine, database: Database, tmp_path: Path) -> Inline:
        return Inline(engine, database, tmp_path / "code")

    def submitted(self, database: Database, engine: Engine, pipeline: Pipeline, **params: Any) -> str:
        planned = plan(pipeline, params, engine.artifacts)
        with database.transaction() as tx:
            return submit(tx, engine, planned)[0]

    def result(self, database: Database, engine: Engine, execution: str) -> Any:
        with database.reading() as tx:
            return reading.result_of(tx, execution, engine.artifacts)

    def states(self, database: Database, execution: str) -> dict[str, str]:
        with database.reading() as tx:
            return {step.name: step.state for step in reading.steps_of(tx, execution)}

    def kinds(self, database: Database, execution: str) -> Counter[str]:
        with database.reading() as tx:
            return Counter(event.kind for event in reading.events_of(tx, execution))

    def claimed(self, database: Database, engine: Engine, worker: str) -> Claimed | None:
        with database.transaction() as tx:
            return claim(engine, Statements.of(tx), worker)

    def completed(self, database: Database, engine: Engine, claimed: Claimed, result: Value = NOTHING) -> bool:
        with database.transaction() as tx:
            return complete(engine, Statements.of(tx), claimed, result, worker="w") is not None

    # What comes out

    @pytest.mark.parametrize("count", [0, 1, 7])
    def test_a_fan_out_runs_once_for_each_element(
        self, database: Database, engine: Engine, inline: Inline, count: int
    ) -> None:
        execution = self.submitted(database, engine, doubled, count=count)
        assert inline.run(execution) == "done"
        assert self.result(database, engine, execution) == sum(2 * number for number in range(count))
        assert calls == {"total": 1, **{f"double {number}": 1 for number in range(count)}}

    def test_what_needs_a_skipped_step_is_skipped_unless_it_takes_none(
        self, database: Database, engine: Engine, inline: Inline
    ) -> None:
        for value, said, state in ((3, "nothing", "skipped"), (30, "it is 60", "done")):
            execution = self.submitted(database, engine, conditional, value=value)
            assert inline.run(execution) == "done"
            assert self.result(database, engine, execution) == said
            assert self.states(database, execution)["told"] == state

    def test_a_key_submits_once(self, database: Database, engine: Engine) -> None:
        planned = plan(doubled, {"count": 2}, engine.artifacts)
        with database.transaction() as tx:
            first, new = submit(tx, engine, planned, key="k")
            again, newer = submit(tx, engine, planned, key="k")
        assert (first, new, newer) == (again, True, False)

    # Claims

    def test_the_first_by_priority_is_claimed_and_none_twice(self, database: Database, engine: Engine) -> None:
        planned = plan(retried, {"name": "low"}, engine.artifacts)
        with database.transaction() as tx:
            low, _ = submit(tx, engine, planned)
            high, _ = submit(tx, engine, planned, priority=5)
        claims = [self.claimed(database, engine, worker) for worker in "abc"]
        assert [one and one.execution for one in claims] == [high, low, None]

    def test_a_step_that_needs_more_than_there_is_waits(self, database: Database, engine: Engine) -> None:
        self.submitted(database, engine, retried, name="a")
        with database.transaction() as tx:
            assert claim(engine, Statements.of(tx), "small", room=Room(cores=0.5)) is None
            assert claim(engine, Statements.of(tx), "large", room=Room(cores=1)) is not None

    def test_a_large_step_that_waits_long_is_not_crowded_out_by_small_ones(
        self, database: Database, engine: Engine
    ) -> None:
        self.submitted(database, engine, retried, name="large")
        small, whole = Room(cores=0.5, memory=10), 10**9
        with database.transaction() as tx:
            sql = Statements.of(tx)
            assert not crowded_out(sql, small, memory=whole, patience=60.0)
            sql.change(_END_WAITS)
            assert crowded_out(sql, small, memory=whole, patience=60.0)
            assert not crowded_out(sql, Room(cores=1.0), memory=whole, patience=60.0)
            sql.change(_GROW)
            assert crowded_out(sql, Room(cores=1.0, memory=5), memory=6, patience=60.0)
            assert not crowded_out(
                sql, Room(cores=1.0, memory=4), memory=5, patience=60.0
            )  # it never fits: others go on
            assert claim(engine, sql, "w", room=Room(cores=1.0, memory=6)) is not None
            assert not crowded_out(sql, small, memory=whole, patience=60.0)

    def test_a_lease_that_ended_lets_another_in_and_fences_the_first(self, database: Database, engine: Engine) -> None:
        execution = self.submitted(database, engine, retried, name="a")
        first = self.claimed(database, engine, "first")
        assert first is not None
        with database.transaction() as tx:
            sql = Statements.of(tx)
            assert expired(sql) == []
            sql.change(_END_LEASES)
            assert expired(sql) == [(execution, 0, 1)]
            assert lose(engine, sql, execution, 0, 1, worker="second")
            assert not lose(engine, sql, execution, 0, 1, worker="third")
        second = self.claimed(database, engine, "second")
        assert second is not None
        assert second.attempt == 2
        before = self.dump(database)
        assert not self.completed(database, engine, first)
        with database.transaction() as tx:
            assert not release(engine, Statements.of(tx), execution, 0, 1, worker="first")
        assert self.dump(database) == before
        assert self.completed(database, engine, second, keep("a", engine.artifacts))
        assert not self.completed(database, engine, second)
        assert self.result(database, engine, execution) == "a"
        assert self.kinds(database, execution) == {"submitted": 1, "started": 2, "lost": 1, "done": 1, "ended": 1}

    def test_a_late_commit_counts_while_nobody_else_began(self, database: Database, engine: Engine) -> None:
        self.submitted(database, engine, retried, name="a")
        first = self.claimed(database, engine, "first")
        assert first is not None
        with database.transaction() as tx:
            Statements.of(tx).change(_END_LEASES)
        assert self.completed(database, engine, first, keep("a", engine.artifacts))

    def test_a_heartbeat_extends_the_leases_and_tells_what_is_held(self, database: Database, engine: Engine) -> None:
        execution = self.submitted(database, engine, retried, name="a")
        assert self.claimed(database, engine, "w") is not None
        with database.transaction() as tx:
            sql = Statements.of(tx)
            sql.change(_END_LEASES)
            assert beat(engine, sql, "other") == set()
            assert beat(engine, sql, "w") == held(sql, "w") == {(execution, 0, 1)}
            assert expired(sql) == []

    def test_a_step_that_takes_its_workers_with_it_fails_in_the_end(self, database: Database, engine: Engine) -> None:
        execution = self.submitted(database, engine, retried, name="a")
        for attempt in range(1, MOST_LOSSES + 1):
            assert self.claimed(database, engine, f"w{attempt}") is not None
            with database.transaction() as tx:
                sql = Statements.of(tx)
                sql.change(_END_LEASES)
                assert lose(engine, sql, execution, 0, attempt, worker="reaper")
        assert self.claimed(database, engine, "w") is None
        with database.reading() as tx:
            assert reading.get_execution(tx, execution).state == "failed"
            failures = [(error.code, error.error_class) for _, error in reading.failures_of(tx, execution)]
            assert failures == [("step.lost", "capacity")]

    def test_a_worker_says_itself_that_a_step_was_lost_and_it_waits_longer_each_time(
        self, database: Database, engine: Engine
    ) -> None:
        execution = self.submitted(database, engine, retried, name="a")
        waits = []
        for attempt in range(1, MOST_LOSSES + 1):
            assert self.claimed(database, engine, "w") is not None
            with database.transaction() as tx:
                sql = Statements.of(tx)
                assert not lose(engine, sql, execution, 0, attempt, worker="other", because="a node died")
                assert lose(engine, sql, execution, 0, attempt, worker="w", because="a node died")
                assert not lose(engine, sql, execution, 0, attempt, worker="w", because="a node died")
                waits.append(ready_in(sql))
                sql.change(_END_WAITS)
        known = [wait for wait in waits if wait is not None]
        assert known == sorted(known)
        assert 0 < known[0] < known[-1]
        assert waits[-1] is None
        with database.reading() as tx:
            assert [failure.code for _, failure in reading.failures_of(tx, execution)] == ["step.lost"]
            told = [one.detail for one in reading.events_of(tx, execution) if one.kind == "lost"]
        assert told == [{"because": "a node died"}] * MOST_LOSSES

    def test_many_workers_never_claim_one_step_twice(self, database: Database, engine: Engine) -> None:
        execution = self.submitted(database, engine, many, count=200)
        nothing = keep(1, engine.artifacts)

        def work(name: int) -> int:
            count = 0
            with closing(Session(database)) as session:
                while True:
                    with session.transaction() as sql:
                        claimed = claim(engine, sql, f"w{name}")
                    if claimed is None:
                        return count
                    with session.transaction() as sql:
                        count += complete(engine, sql, claimed, nothing, worker=f"w{name}") is not None

        with ThreadPoolExecutor(6) as pool:
            assert sum(pool.map(work, range(6))) == 200
        with database.reading() as tx:
            assert reading.get_execution(tx, execution).state == "done"
            events = list(reading.events_of(tx, execution))
        for kind in ("started", "done"):
            assert Counter(one.step for one in events if one.kind == kind) == {
                f"limited[{number}]": 1 for number in range(200)
            }

    def test_limits_hold_for_all_workers(self, database: Database, engine: Engine) -> None:
        few = ll.pipeline(limits={"few": "2"})(many.function)
        self.submitted(database, engine, few, count=5)
        first = [self.claimed(database, engine, worker) for worker in "abc"]
        assert [one is not None for one in first] == [True, True, False]
        assert first[0] is not None
        assert self.completed(database, engine, first[0])
        assert self.claimed(database, engine, "c") is not None
        assert self.claimed(database, engine, "d") is None

    def test_a_rate_lets_so_many_start_in_a_time(self, database: Database, engine: Engine) -> None:
        rated = ll.pipeline(limits={"few": "3/1h"})(many.function)
        self.submitted(database, engine, rated, count=5)
        assert [self.claimed(database, engine, "w") is not None for _ in range(5)] == [True] * 3 + [False] * 2

    # Failure and recovery

    def test_a_failure_of_its_class_is_tried_again(self, database: Database, engine: Engine, inline: Inline) -> None:
        broken.add("a")
        execution = self.submitted(database, engine, retried, name="a")
        mended = threading.Timer(0.2, broken.clear)
        mended.start()
        assert inline.run(execution) == "done"
        mended.join()
        assert calls["a"] == 2
        assert self.kinds(database, execution)["retrying"] == 1

    def test_a_failure_cancels_what_needs_it_and_resuming_runs_only_the_rest(
        self, database: Database, engine: Engine, inline: Inline
    ) -> None:
        broken.add("double 2")
        execution = self.submitted(database, engine, doubled, count=4)
        assert inline.run(execution) == "failed"
        assert self.states(database, execution) == {
            "numbers": "done", "double": "failed", "total": "cancelled",
            "double[0]": "done", "double[1]": "done", "double[2]": "failed", "double[3]": "done",
        }  # fmt: skip
        broken.clear()
        with database.transaction() as tx:
            assert resume(tx, engine, execution) == 3
        assert inline.run(execution) == "done"
        assert self.result(database, engine, execution) == 12
        assert calls == {"double 0": 1, "double 1": 1, "double 2": 2, "double 3": 1, "total": 1}
        with pytest.raises(Conflict, match="nothing of it failed"), database.transaction() as tx:
            resume(tx, engine, execution)

    @pytest.mark.parametrize(("step", "again"), [("numbers", 6), ("double", 5), ("double[1]", 3), ("total", 1)])
    def test_resuming_from_a_step_runs_it_and_all_below_again(
        self, database: Database, engine: Engine, inline: Inline, step: str, again: int
    ) -> None:
        execution = self.submitted(database, engine, doubled, count=4)
        assert inline.run(execution) == "done"
        before = self.kinds(database, execution)
        with database.transaction() as tx:
            resume(tx, engine, execution, step=step)
        assert inline.run(execution) == "done"
        assert self.result(database, engine, execution) == 12
        started = self.kinds(database, execution)["started"] - before["started"]
        assert started == again - (step == "double[1]")  # a fan-out itself is not run
        assert calls["total"] == 2

    def test_what_is_cancelled_commits_nothing_more(self, database: Database, engine: Engine) -> None:
        execution = self.submitted(database, engine, doubled, count=2)
        claimed = self.claimed(database, engine, "w")
        assert claimed is not None
        with database.transaction() as tx:
            cancel(tx, engine, execution)
        before = self.dump(database)
        assert not self.completed(database, engine, claimed)
        assert self.dump(database) == before
        assert set(self.states(database, execution).values()) == {"cancelled"}
        with pytest.raises(Conflict, match="cancelled already"), database.transaction() as tx:
            cancel(tx, engine, execution)

    def test_a_cancelled_execution_goes_on_where_it_was(
        self, database: Database, engine: Engine, inline: Inline
    ) -> None:
        execution = self.submitted(database, engine, doubled, count=2)
        claimed = self.claimed(database, engine, "w")
        assert claimed is not None
        assert self.completed(database, engine, claimed, keep([5, 6], engine.artifacts))
        with database.transaction() as tx:
            cancel(tx, engine, execution)
            resume(tx, engine, execution)
        assert inline.run(execution) == "done"
        assert self.result(database, engine, execution) == 22

    def test_a_rerun_takes_nothing_from_the_cache(self, database: Database, engine: Engine, inline: Inline) -> None:
        first = self.submitted(database, engine, doubled, count=3)
        inline.run(first)
        for fresh, count in ((False, 1), (True, 2)):
            with database.transaction() as tx:
                again = rerun(tx, engine, first, fresh=fresh)
            assert inline.run(again) == "done"
            assert self.result(database, engine, again) == 6
            assert calls["double 1"] == count

    # The cache

    def test_the_same_code_params_and_inputs_are_not_computed_twice(
        self, database: Database, engine: Engine, inline: Inline
    ) -> None:
        for count in (3, 3, 5):
            inline.run(self.submitted(database, engine, doubled, count=count))
        assert calls == {"total": 3, **{f"double {number}": 1 for number in range(5)}}

    def test_a_cached_artifact_that_is_gone_is_computed_again(
        self, database: Database, engine: Engine, inline: Inline
    ) -> None:
        inline.run(self.submitted(database, engine, measured, size=10_000))
        engine.artifacts.remove(keep(b"x" * 10_000, engine.artifacts).digest)
        execution = self.submitted(database, engine, measured, size=10_000)
        assert inline.run(execution) == "done"
        assert calls["big"] == 2

    def test_an_input_that_is_gone_is_made_again_on_the_way(
        self, database: Database, engine: Engine, inline: Inline
    ) -> None:
        execution = self.submitted(database, engine, measured, size=10_000)
        for result in (keep(b"x" * 10_000, engine.artifacts), keep(2, engine.artifacts)):
            claimed = self.claimed(database, engine, "w")
            assert claimed is not None
            assert self.completed(database, engine, claimed, result)
        engine.artifacts.remove(keep(b"x" * 10_000, engine.artifacts).digest)
        assert inline.run(execution) == "done"
        assert self.result(database, engine, execution) == 10_000
        assert calls == {"big": 1, "length": 1}
        assert self.kinds(database, execution)["healing"] == 1

    # What is kept

    def test_what_ended_long_ago_loses_its_steps_and_the_cache_what_nobody_used_since(
        self, database: Database, engine: Engine, inline: Inline
    ) -> None:
        failed, old, newest = self.some_of_before(database, engine, inline)
        waiting = self.submitted(database, engine, retried, name="c")
        before = engine.clock.now()
        used = self.submitted(database, engine, doubled, count=3)
        inline.run(used)
        held = self.dump(database)
        told = prune(database, before, dry=True)
        assert self.dump(database) == held
        assert prune(database, before) == told == Pruned(3, 2)  # numbers(2) and flaky(a)
        assert prune(database, before) == Pruned(0, 0)
        for gone in (failed, old):
            assert (self.states(database, gone), self.kinds(database, gone)) == ({}, Counter())
            with pytest.raises(Conflict, match="so long ago"), database.transaction() as tx:
                resume(tx, engine, gone)
            with pytest.raises(Conflict, match="so long ago"), database.transaction() as tx:
                rerun(tx, engine, gone)
            with database.reading() as tx:
                assert reading.get_execution(tx, gone).state in {"done", "failed"}
        assert self.result(database, engine, newest) == "b"
        assert inline.run(waiting) == "done"
        calls.clear()
        inline.run(self.submitted(database, engine, doubled, count=4))
        assert calls == {"total": 1, "double 3": 1}

    def some_of_before(self, database: Database, engine: Engine, inline: Inline) -> list[str]:
        """One that failed, one that was done, and the newest of its pipeline that was; and one that is done again later."""
        broken.add("double 1")
        failed = self.submitted(database, engine, doubled, count=2)
        assert inline.run(failed) == "failed"
        broken.clear()
        ran = [self.submitted(database, engine, retried, name=name) for name in "ab"]
        assert [inline.run(one) for one in ran] == ["done", "done"]
        again = self.submitted(database, engine, doubled, count=3)
        assert inline.run(again) == "done"
        return [failed, *ran]

    def dump(self, database: Database) -> list[Any]:
        with database.reading() as tx:
            sql = Statements.of(tx)
            return [sql.rows(_ALL_STEPS), sql.rows(_ALL_EXECUTIONS)]
