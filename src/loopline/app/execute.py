"""Workers of a home: for one execution until it has ended, or for all until they are stopped."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stdout
from typing import Any

import structlog

from loopline.app.executor import ExecutorName, executor_of
from loopline.app.healing import start_postponed, telling
from loopline.app.stopping import stopping
from loopline.errors import told
from loopline.executors.planner import LocalPlanner
from loopline.executors.worker import Worker
from loopline.pipelines import reading
from loopline.pipelines.declare import memory_in_bytes
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.inline import Inline

log = structlog.get_logger(__name__)

_EVERY = 30.0
Note = Callable[[dict[str, int]], None]


def execute(
    opened: PipelineHome,
    execution: str,
    *,
    functions: Mapping[str, Callable[..., Any]] | None = None,
    note: Note | None = None,
) -> str:
    """Work on one execution until it has ended; its state. With `functions` in this process, otherwise in processes of their own.

    SIGTERM and Ctrl-C stop it in order: what runs is given back, and any worker goes on with it.
    """
    telling(opened)
    if functions is not None:
        with redirect_stdout(sys.stderr):  # what steps print is not the command's answer
            return Inline(opened.engine, opened.database, opened.code_path, functions).run(execution)

    def seen() -> None:
        if note is not None:
            with opened.database.reading() as tx:
                note(reading.get_execution(tx, execution).steps)

    with _worker(opened, execution=execution) as worker, stopping() as stop:
        return worker.run(stop.is_set, grace=0.0, seen=seen)


def work(
    opened: PipelineHome,
    *,
    cores: float | None = None,
    memory: str | None = None,
    grace: float = 60.0,
    until_idle: bool = False,
    executor: ExecutorName = "local",
) -> int:
    """Work for all executions until SIGTERM, SIGINT, or with `until_idle` until none is running; how many attempts it ran.

    `executor` is `local` or `ray`; then raises what connecting to the cluster of the settings raises. Windows that steps put off are
    started when they are due.
    """
    looked = -_EVERY

    def look() -> None:
        nonlocal looked
        if time.monotonic() - looked < _EVERY:
            return
        looked = time.monotonic()
        try:
            start_postponed(opened.database, opened.engine, planner)
        except Exception as error:  # a worker outlives its database's bad hour
            log.warning("postponed.not_looked_for", error=told(error))

    def over() -> bool:
        if stop.is_set() or not until_idle:
            return stop.is_set()
        with opened.database.reading() as tx:
            return not reading.find_executions(tx, state="running", limit=1)

    telling(opened)
    settings = opened.settings
    planner = LocalPlanner(settings.artifacts_url, settings.home / "executor" / "code", durable=settings.durable)
    with (
        closing(planner),
        _worker(opened, executor, cores=cores, memory=memory) as worker,
        stopping() as stop,
    ):
        look()
        worker.run(over, grace=grace, seen=look)
        return worker.done


@contextmanager
def _worker(
    opened: PipelineHome,
    name: ExecutorName = "local",
    *,
    execution: str | None = None,
    cores: float | None = None,
    memory: str | None = None,
) -> Iterator[Worker]:
    settings = opened.settings
    with (
        executor_of(name, settings, settings.artifacts_url, cores=cores, memory=memory_in_bytes(memory)) as executor,
        closing(Worker(opened.engine, opened.database, executor, execution=execution)) as worker,
    ):
        yield worker
