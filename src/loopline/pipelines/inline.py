"""Steps run in this process, one after the other: for replay, tests and steps of milliseconds.

A step's result commits together with the claim of the next. A process of its own is what a timeout, a cancel or a limit of memory can end,
so a step that asks for one of these is not run here.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from loopline.errors import InvalidInput
from loopline.pipelines.claims import Room, beat, expired
from loopline.pipelines.code import function_named, import_from, unpack
from loopline.pipelines.completion import Taker
from loopline.pipelines.engine import Engine, worker_name
from loopline.pipelines.failing import lose
from loopline.pipelines.perform import perform
from loopline.pipelines.planning import Plan
from loopline.pipelines.taking import Taken, commit, take
from loopline.storage.database import Database
from loopline.storage.statements import Session, Sql

_STATE = Sql("select state from execution where id = ?")
_NEXT = Sql("select min(ready_at) - {now} from step where execution = ? and state = 'ready'")
_LONGEST_WAIT = 0.5


class Inline:
    """Runs executions in this process. `functions` are the steps' own, by key; others are imported from the pinned code below `folder`."""

    def __init__(
        self,
        engine: Engine,
        database: Database,
        folder: Path,
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._engine, self._database, self._folder = engine, database, folder
        self._functions = dict(functions or {})
        self.worker = worker_name()

    def run(self, execution: str) -> str:
        """Run steps of this execution until it has ended, here or by others; its state."""
        stop = threading.Event()
        keeping = threading.Thread(target=self._keep_leases, args=(stop,), daemon=True)
        keeping.start()
        try:
            with closing(Session(self._database)) as session:
                return self._run(session, execution)
        finally:
            stop.set()
            keeping.join()

    def _run(self, session: Session, execution: str) -> str:
        engine, taker = self._engine, Taker(self.worker, Room(), execution)
        with session.transaction() as sql:
            taken, more = take(engine, sql, self.worker, execution=execution)
        while True:
            if taken is None and not more:
                state = self._wait(session, execution)
                if state != "running":
                    return state
            performed = None if taken is None else perform(self._function(taken), taken.arguments, engine.artifacts)
            with session.transaction() as sql:
                after = None
                if taken is not None and performed is not None:
                    after = commit(engine, sql, taken, performed, worker=self.worker, taker=taker)
                taken, more = take(engine, sql, self.worker, execution=execution, after=after)

    def _function(self, taken: Taken) -> Callable[..., Any]:
        key = taken.claimed.function
        if key not in self._functions:
            if taken.facts.code is not None:
                import_from(unpack(taken.facts.code, self._engine.artifacts, self._folder))
            self._functions[key] = function_named(key)
        return self._functions[key]

    def _wait(self, session: Session, execution: str) -> str:
        """Nothing is ready: the execution has ended, a step waits for its next attempt, or another worker runs the rest."""
        with session.transaction() as sql:
            state = str(sql.rows(_STATE, execution)[0][0])
            left = sql.rows(_NEXT, execution)[0][0]
            gone = expired(sql)
        for key in gone:
            with session.transaction() as sql:
                lose(self._engine, sql, *key, worker=self.worker)
        if state == "running" and not gone:
            time.sleep(_LONGEST_WAIT if left is None else min(max(left / 1000, 0.001), _LONGEST_WAIT))
        return state

    def _keep_leases(self, stop: threading.Event) -> None:
        while not stop.wait(self._engine.lease_ms / 3000):
            with closing(Session(self._database)) as session, session.transaction() as sql:
                beat(self._engine, sql, self.worker)


def check_inline(planned: Plan) -> None:
    """Raise `InvalidInput` "pipeline.needs_processes" where a step asks for what only a process of its own can give."""
    for node in planned.graph.nodes:
        if node.options.timeout is not None or node.options.memory:
            raise InvalidInput(
                "pipeline.needs_processes",
                f"`{node.name}` has a timeout or a limit of memory, which nothing can enforce within this process",
                remedy="Run it with `loopline pipelines run`, or submit it for a `loopline worker`.",
            )
