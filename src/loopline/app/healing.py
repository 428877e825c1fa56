"""Healing in operation: people are told of steps that failed, and windows that were put off are executed when their time has come."""

from datetime import datetime

import structlog

from loopline.errors import LooplineError, told
from loopline.incidents.freeze import frozen
from loopline.incidents.step_failure import tell_failure
from loopline.loop.owner import declared_people
from loopline.pipelines.applied.start import Planner, Starter
from loopline.pipelines.engine import Engine
from loopline.pipelines.healing import postponed
from loopline.pipelines.healing.classes import Classified
from loopline.pipelines.healing.decide import Next
from loopline.pipelines.healing.record import Where
from loopline.pipelines.home import PipelineHome
from loopline.storage.database import Database, Transaction

log = structlog.get_logger(__name__)


def telling(opened: PipelineHome) -> PipelineHome:
    """The home, whose steps that are over for an error are told to the owner of their pipeline."""
    opened.engine.tell = tell
    return opened


def start_postponed(database: Database, engine: Engine, planner: Planner) -> int:
    """Start the windows that are due, of every project that is not frozen; how many. What is refused is told in the log.

    Whoever starts them, they run the code that their pipeline is in force with.
    """
    with database.reading() as tx:
        projects = [one for one in postponed.projects(tx) if frozen(tx, one) is None]
    count = 0
    for project in projects:
        try:
            starter = Starter(engine, planner, project)
            started = postponed.start_due(
                database,
                project,
                starter.start_window,
                now=engine.clock.now(),
                prepare=lambda one, starter=starter: starter.prepare(database, one.pipeline, one.params, one.window),  # type: ignore[misc]
            )
            count += len(started)
        except LooplineError as error:
            log.warning("postponed.not_started", project=project, error=told(error))
    return count


def tell(tx: Transaction, where: Where, error: Classified, then: Next, owner: str, at: datetime) -> None:
    """Tell the owner of a pipeline of a step that is over for an error; the message leaves with the transaction. Quiet hours are those of the
    project's loop, and its owner is told where the pipeline names none.
    """
    people = declared_people(tx, where.project)
    tell_failure(tx, where, error, then, owner=owner or people.owner, at=at, quiet=people.quiet)
