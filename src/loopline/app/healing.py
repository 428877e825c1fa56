"""Healing in operation: people are told of steps that failed, and windows that were put off are executed when their time has come."""

from datetime import datetime

import structlog

from loopline.errors import LooplineError, told
from loopline.incidents.step_failure import tell_failure
from loopline.pipelines.healing import postponed
from loopline.pipelines.healing.classes import Classified
from loopline.pipelines.healing.decide import Next
from loopline.pipelines.healing.record import Where
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.postponing import starting
from loopline.storage.database import Transaction

log = structlog.get_logger(__name__)


def telling(opened: PipelineHome) -> PipelineHome:
    """The home, whose steps that are over for an error are told to the owner of their pipeline."""
    opened.engine.tell = tell
    return opened


def start_postponed(opened: PipelineHome) -> int:
    """Start the windows that are due; how many. One that is refused is told in the log."""
    with opened.database.reading() as tx:
        projects = postponed.projects(tx)
    count = 0
    for project in projects:
        try:
            now = opened.engine.clock.now()
            count += len(postponed.start_due(opened.database, project, starting(opened.engine), now=now))
        except LooplineError as error:
            log.warning("postponed.not_started", project=project, error=told(error))
    return count


def tell(tx: Transaction, where: Where, error: Classified, then: Next, owner: str, at: datetime) -> None:
    """Tell the owner of a pipeline of a step that is over for an error; the message leaves with the transaction."""
    tell_failure(tx, where, error, then, owner=owner, at=at)
