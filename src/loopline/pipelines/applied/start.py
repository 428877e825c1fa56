"""How ticks and windows that are due become executions: of the pipeline in force, by its pinned code."""

from contextlib import suppress
from datetime import datetime
from typing import Any, Protocol

from loopline.errors import LooplineError, NotFound
from loopline.pipelines.applied.applied import InForce, in_force, one_in_force
from loopline.pipelines.engine import Engine
from loopline.pipelines.executions import submit
from loopline.pipelines.healing.postponed import Postponed
from loopline.pipelines.planning import Plan
from loopline.pipelines.postponing import starting
from loopline.storage.database import Database, Transaction
from loopline.values import Window, canonical_json


class Planner(Protocol):
    """Traces pipelines from their pinned code, apart from this process."""

    def plan(self, code: str, function: str, params: dict[str, Any], window: Window | None) -> Plan:
        """The plan of an execution of the pipeline that `function` declares in the pinned `code`; its artifacts are durable.

        Raises `InvalidInput` for what the pipeline refuses, and `Unavailable` where it could not be asked.
        """


class Starter:
    """Begins executions of one project's pipelines, each in the caller's transaction and once for each tick.

    A body may take long to say what its steps are, and nobody can write meanwhile: what was prepared before the transaction is there.
    """

    def __init__(self, engine: Engine, planner: Planner, project: str) -> None:
        self._engine, self._planner, self._project = engine, planner, project
        self._prepared: dict[bytes, Plan | LooplineError] = {}

    def prepare(self, database: Database, pipeline: str, params: dict[str, Any], window: Window | None) -> None:
        """Plan an execution that is about to be started. What is wrong with it is raised by the start."""
        with database.reading() as tx:
            found = in_force(tx, project=self._project, pipeline=pipeline)
        for one in found[:1]:
            try:
                planned: Plan | LooplineError = self._planner.plan(one.code, one.function, params, window)
            except LooplineError as error:
                planned = error
            self._prepared[_key(one, params, window)] = planned

    def start(
        self,
        tx: Transaction,
        pipeline: str,
        params: dict[str, Any],
        window: Window | None,
        at: datetime,  # noqa: ARG002 - as a scheduler calls it; executions have the engine's clock
        *,
        tick: str,
    ) -> str:
        """Submit the execution of a tick; its id. Asked again with the same tick it is the same execution.

        Raises `NotFound` "pipeline.not_in_force", and what `Planner.plan` and `submit` raise.
        """
        found = one_in_force(tx, self._project, pipeline)
        return self._submit(tx, found, params, window, key=tick, origin="schedule")

    def start_window(
        self,
        tx: Transaction,
        postponed: Postponed,
        now: datetime,
    ) -> str:
        """Submit a window that was put off; its id: with the code in force, or, of a pipeline that is not, the execution that skipped it
        again. Raises as `start`.
        """
        if not in_force(tx, project=self._project, pipeline=postponed.pipeline):
            with suppress(NotFound):  # that it is not in force says more than that nothing is left to run again
                return starting(self._engine)(tx, postponed, now)
        found = one_in_force(tx, self._project, postponed.pipeline)
        return self._submit(tx, found, postponed.params, postponed.window, key=postponed.id, origin="postponed")

    def _submit(
        self, tx: Transaction, found: InForce, params: dict[str, Any], window: Window | None, *, key: str, origin: str
    ) -> str:
        planned = self._prepared.pop(_key(found, params, window), None)
        if planned is None:
            planned = self._planner.plan(found.code, found.function, params, window)
        if isinstance(planned, LooplineError):
            raise planned
        execution, _ = submit(tx, self._engine, planned, key=key, origin=origin, by=key, project=self._project)
        return execution


def _key(found: InForce, params: dict[str, Any], window: Window | None) -> bytes:
    return canonical_json([found.code, found.function, params, str(window)])
