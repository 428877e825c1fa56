"""Pipelines of a home in operation: schedulers that start executions, and a worker that runs their steps, each in a thread of its own."""

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial

import structlog

from loopline.app.healing import start_postponed, tell
from loopline.config import Settings
from loopline.errors import LooplineError, told
from loopline.executors.local import LocalExecutor
from loopline.executors.planner import LocalPlanner
from loopline.executors.worker import Worker
from loopline.incidents.freeze import frozen
from loopline.loop.resources import Resources
from loopline.pipelines import reading
from loopline.pipelines.applied.applied import in_force
from loopline.pipelines.applied.start import Starter
from loopline.pipelines.home import engine_of, put_limits
from loopline.pipelines.limits import limits_in
from loopline.pipelines.schedules import schedule
from loopline.pipelines.schedules.schedule import SIGNALLED, TIMED
from loopline.pipelines.schedules.scheduler import Scheduler
from loopline.pipelines.schedules.signal import waiting
from loopline.storage.database import Transaction

log = structlog.get_logger(__name__)

STEP_SECONDS = 2.0
_AGAIN_SECONDS = 5.0
_MARGIN_SECONDS = 10.0


class PipelineWork:
    """Starts what schedules of every project of the home make due, and runs steps of any execution. Any number of these may work on one home.

    The worker begins when there is something for one to do. A thread that fails is started again; `trouble` says of one that does not go on.
    """

    def __init__(self, settings: Settings, resources: Resources) -> None:
        """Raises `InvalidInput` "pipeline.limit"."""
        self._settings, self._resources = settings, resources
        self._engine = engine_of(settings, resources.artifacts, resources.clock, resources.seed)
        self._engine.tell = tell
        self._planner = LocalPlanner(
            settings.artifacts_url, settings.home / "executor" / "code", durable=settings.durable
        )
        self._limits = limits_in(settings.limits)
        self._stop = threading.Event()
        self._scheduler = threading.Thread(target=self._keep, args=(self._schedule,), name="pipelines", daemon=True)
        self._worker = threading.Thread(target=self._keep, args=(self._work,), name="steps", daemon=True)
        self._failing: dict[str, str] = {}

    def start(self) -> None:
        """Begin."""
        put_limits(self._resources.database, self._limits)
        self._scheduler.start()

    def leave(self) -> None:
        """Start nothing more from now on."""
        self._stop.set()

    def stop(self) -> None:
        """Let running steps finish for the grace that the settings give, and give back the rest."""
        self.leave()
        for thread in (self._scheduler, self._worker):
            if thread.is_alive():
                thread.join(self._settings.pipeline_grace_s + _MARGIN_SECONDS)
        self._planner.close()

    def trouble(self) -> str:
        """Why it does not go on as it should; empty where it does."""
        failing = "; ".join(self._failing.values())
        return failing if self._scheduler.is_alive() else "the scheduler of pipelines has died"

    def step(self) -> None:
        """Start what is due now, of every project. What fails is logged, and due again with the next step."""
        with self._resources.database.reading() as tx:
            projects = sorted(schedule.projects(tx))
            codes = [code for project in projects for code in _codes_due(tx, project, self._resources.clock.now())]
        for code in codes:
            self._warm(code)
        for project in projects:
            self._start_due(project)
        start_postponed(self._resources.database, self._engine, self._planner)

    def _start_due(self, project: str) -> None:
        resources, starter = self._resources, Starter(self._engine, self._planner, project)
        scheduler = Scheduler(
            resources.database,
            project,
            start=starter.start,
            clock=resources.clock,
            tables=resources.tables,
            held=lambda tx: _held(tx, project),
            prepare=partial(starter.prepare, resources.database),
        )
        scheduler.step()

    def _warm(self, code: str) -> None:
        """Before the transaction that a tick is: what it then asks answers at once."""
        try:
            self._planner.warm(code)
        except LooplineError as error:
            log.warning("pipeline_code_failed", code=code, error=told(error))

    def _keep(self, work: Callable[[], None]) -> None:
        """Do `work` until it is stopped, also after it failed."""
        while not self._stop.is_set():
            try:
                work()
            except Exception as error:  # pipelines must outlive a bad hour
                name = threading.current_thread().name
                self._failing[name] = f"{name}: {told(error)}"
                log.exception("pipelines_failed", thread=name, error=told(error))
                self._stop.wait(_AGAIN_SECONDS)

    def _well(self) -> None:
        self._failing.pop(threading.current_thread().name, None)

    def _schedule(self) -> None:
        if not self._worker.ident and self._wants_worker():
            self._worker.start()
        if not self._stop.wait(STEP_SECONDS):
            self.step()
        self._well()

    def _wants_worker(self) -> bool:
        if self._settings.pipeline_cores == 0:
            return False
        with self._resources.database.reading() as tx:
            return bool(in_force(tx) or reading.find_executions(tx, state="running", limit=1))

    def _work(self) -> None:
        settings = self._settings
        cores = settings.pipeline_cores
        executor = LocalExecutor(
            settings.artifacts_url, settings.home / "executor", cores=cores, durable=settings.durable
        )
        with closing(Worker(self._engine, self._resources.database, executor)) as worker:
            worker.run(self._stop.is_set, grace=settings.pipeline_grace_s, seen=self._well)


def _held(tx: Transaction, project: str) -> str:
    found = frozen(tx, project)
    return found.reason if found else ""


def _codes_due(tx: Transaction, project: str, now: datetime) -> set[str]:
    """The codes of pipelines that are about to be started, as far as can be told: those by a clock, and those that signals wait for."""
    due = schedule.find(tx, project, kinds=TIMED, due=now + timedelta(seconds=STEP_SECONDS), paused=False)
    if waiting(tx, project, limit=1):
        due += schedule.find(tx, project, kinds=SIGNALLED, paused=False)
    names = {one.pipeline for one in due}
    return {one.code for one in in_force(tx, project=project) if one.pipeline in names} if names else set()
