"""A worker: claims steps, gives them to an executor, commits what comes of them, and keeps its leases."""

import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from loopline.errors import LooplineError, Unavailable, told
from loopline.executors.executor import Executor, Finished, Job, Lost
from loopline.pipelines.advance import Committed, release
from loopline.pipelines.claims import ANY_CORES, Key, Room, beat, crowded_out, expired, held, ready_in
from loopline.pipelines.completion import Taker
from loopline.pipelines.engine import Engine, worker_name
from loopline.pipelines.failing import lose
from loopline.pipelines.failure import Failure
from loopline.pipelines.perform import Performed
from loopline.pipelines.taking import Taken, commit, take
from loopline.storage.database import Database
from loopline.storage.statements import Session, Sql, Statements

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.5
_IDLE_SECONDS = 0.2
_STATE = Sql("select state from execution where id = ?")
_MOST_FAILURES = 10
CROWDED_SECONDS = 30.0


class Worker:
    """Works for every execution of a home, or for one. Several may work on one home, on any hosts that reach its database and artifacts."""

    def __init__(self, engine: Engine, database: Database, executor: Executor, *, execution: str | None = None) -> None:
        self._engine, self._executor, self._execution = engine, executor, execution
        self._session = Session(database)
        self.name = worker_name()
        self._running: dict[Key, Taken] = {}
        self._finished: list[Finished | Lost] = []
        self._beat_at = self._look_at = 0.0
        self._failures = 0
        self._memory = executor.room().memory
        self.done = 0

    def run(self, stop: Callable[[], bool], *, grace: float = 60.0, seen: Callable[[], None] = lambda: None) -> str:
        """Work until `stop` says so, then let what runs finish for `grace` seconds and give back the rest; or until the one execution has
        ended. The execution's state, or "". `seen` is called with every round.

        Raises what keeps the database from being written for long.
        """
        leaving: float | None = None
        state = ""
        while leaving is None or self._running:
            if leaving is None and stop():
                leaving = time.monotonic() + grace
            try:
                state = self._round(take_more=leaving is None)
                self._failures = 0
            except (
                Exception
            ) as error:  # the database may be away for a while; what has finished is kept until it is back
                self._failures += 1
                log.warning("worker.round_failed", error=told(error), kept=len(self._finished))
                if self._failures >= _MOST_FAILURES and not isinstance(error, Unavailable):
                    raise
                time.sleep(min(self._failures * 0.2, 2.0))
            seen()
            if self._execution is not None and state not in {"", "running"}:
                break
            if leaving is not None and time.monotonic() > leaving:
                break
        self._give_back()
        return state

    def close(self) -> None:
        """End the executor's processes and the connection."""
        self._executor.close()
        self._session.close()

    def _round(self, *, take_more: bool) -> str:
        self._keep()
        self._finished += self._executor.wait(0 if self._finished else self._patience())
        state, more = "", True
        while more:
            with self._session.transaction() as sql:
                room = self._room(sql) if take_more else None
                taker = None if room is None else Taker(self.name, room, self._execution)
                lost, after = self._commit_all(sql, taker)
                taken, more = ([], False) if taker is None else self._take(sql, taker, after)
                if self._execution is not None:
                    state = str(sql.rows(_STATE, self._execution)[0][0])
            for one in lost:
                log.warning("worker.fenced", step=one.key, remedy="another worker has it, or it was cancelled")
            for finished in self._finished:
                self._running.pop(finished.key, None)
            self.done += sum(isinstance(one, Finished) for one in self._finished)
            self._finished.clear()
            for one_taken in taken:
                self._start(one_taken)
        return state

    def _commit_all(self, sql: Statements, taker: Taker | None) -> tuple[list[Finished | Lost], Committed | None]:
        """Commit what has finished; what was fenced, and what handed a step over. Only one alone does: room is counted one step at a time."""
        lost: list[Finished | Lost] = []
        after = None
        for one in self._finished:
            done = self._commit(sql, one, taker if len(self._finished) == 1 else None)
            if done is None:
                lost.append(one)
            after = done or after
        return lost, after

    def _commit(self, sql: Statements, finished: Finished | Lost, taker: Taker | None) -> Committed | None:
        taken = self._running.get(finished.key)
        if taken is None:
            return None
        if isinstance(finished, Lost):
            log.warning("worker.step_lost", step=finished.key, because=finished.because)
            ours = lose(self._engine, sql, *finished.key, worker=self.name, because=finished.because)
            return Committed(taken.claimed) if ours else None
        performed = finished.performed
        return commit(self._engine, sql, taken, performed, worker=self.name, log=finished.log, taker=taker)

    def _room(self, sql: Statements) -> Room | None:
        """What there is room for. A step that asks for more cores than there are runs alone. While one that waits long for room is the next,
        nothing else is taken.
        """
        room = self._executor.room()
        if not self._running:
            return Room(ANY_CORES, room.memory)
        if room.cores <= 0 or crowded_out(sql, room, memory=self._memory, patience=CROWDED_SECONDS):
            return None
        return room

    def _take(self, sql: Statements, taker: Taker, after: Committed | None) -> tuple[list[Taken], bool]:
        """One step at a time, so that the next is fitted into the room that the one before leaves."""
        taken, more = take(self._engine, sql, self.name, room=taker.room, execution=self._execution, after=after)
        return ([], more) if taken is None else ([taken], True)

    def _start(self, taken: Taken) -> None:
        claimed = taken.claimed
        options = claimed.options
        job = Job(
            claimed.execution,
            claimed.number,
            claimed.attempt,
            claimed.name,
            claimed.function,
            taken.facts.code,
            dict(taken.arguments),
            options.timeout,
            options.cores,
            options.memory,
            options.hints,
        )
        self._running[job.key] = taken
        try:
            self._executor.start(job)
        except Exception as error:  # no process, no memory, no space: an attempt that failed, not the worker's end
            self._finished.append(Finished(job.key, Performed(failure=Failure.of(error))))

    def _keep(self) -> None:
        """Extend the leases in time; end what is not ours any more; take the steps of workers that are gone back."""
        now = time.monotonic()
        if now < min(self._beat_at, self._look_at):
            return
        beating = now >= self._beat_at
        with self._session.transaction() as sql:
            ours = beat(self._engine, sql, self.name) if beating else held(sql, self.name)
            gone = expired(sql) if beating else []
        for key in [one for one in self._running if one not in ours]:
            log.warning("worker.killed", step=key, remedy="another worker has it, or it was cancelled")
            self._executor.kill(key)
            del self._running[key]
        for key in ours - self._running.keys():  # claimed by a commit whose answer did not arrive
            with self._session.transaction() as sql:
                release(self._engine, sql, *key, worker=self.name)
        for key in gone:
            with self._session.transaction() as sql:
                lose(self._engine, sql, *key, worker=self.name)
        self._look_at = now + _LOOK_SECONDS
        if beating:
            self._beat_at = now + self._engine.lease_ms / 3000

    def _patience(self) -> float:
        if self._running:
            return _IDLE_SECONDS
        with self._session.transaction() as sql:
            left = ready_in(sql)
        return _IDLE_SECONDS if left is None else min(left, _IDLE_SECONDS)

    def _give_back(self) -> None:
        for key in list(self._running):
            self._executor.kill(key)
            with suppress(LooplineError), self._session.transaction() as sql:
                release(self._engine, sql, *key, worker=self.name)
            del self._running[key]
