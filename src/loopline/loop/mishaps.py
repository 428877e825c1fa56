"""What fails within a loop is noted as errors of pipelines' steps are, so that `loopline errors` tells of both.

A loop's remedy is always the same: what failed waits and is tried again, everything else goes on, and the window is caught up with.
"""

from contextlib import suppress
from datetime import datetime

from loopline.pipelines.healing import record
from loopline.pipelines.healing.raised import raised
from loopline.pipelines.healing.record import Where
from loopline.pipelines.healing.remedies import wait, when
from loopline.storage.database import Database, Transaction
from loopline.values import micros

_HEAL = (when("any", wait("3650d")),)


def note_mishap(
    tx: Transaction, *, loop: str, step: str, work: str, attempt: int, error: Exception, source: str = "", at: datetime
) -> None:
    """That the `attempt`th try in a row of a piece of work failed. `step` is its kind, such as `ingest arrivals`, `work` names it among
    all of the loop: it stays the same until it is done.
    """
    where = Where(project=loop, pipeline=loop, step=step, execution=work, attempt=attempt)
    behind = error.__cause__ if isinstance(error.__cause__, Exception) else error
    record.failed(tx, where, raised(behind, source=source), _HEAL, at=at)


def note_recovery(tx: Transaction, *, step: str, work: str, at: datetime) -> None:
    """That it was done after all."""
    record.ended(tx, execution=work, step=step, helped=True, at=at)


class Mishaps:
    """The tries in a row that failed of one kind of work, such as a loop's turns."""

    def __init__(self, loop: str, step: str) -> None:
        self._loop, self._step = loop, step
        self._since: datetime | None = None
        self._count = 0

    def note(self, database: Database, error: Exception | None, at: datetime) -> None:
        """That a try failed, or with None that it went well. Where even that cannot be written, the caller's log has it."""
        if error is None and self._since is None:
            return
        since = self._since = self._since or at
        self._count += 1
        work = f"{self._loop}.{self._step}@{micros(since)}"
        with suppress(Exception), database.transaction() as tx:
            if error is None:
                note_recovery(tx, step=self._step, work=work, at=at)
            else:
                note_mishap(tx, loop=self._loop, step=self._step, work=work, attempt=self._count, error=error, at=at)
        if error is None:
            self._since, self._count = None, 0
