"""Windows that a step skips: put off in the transaction that skips it, and executed again as they were planned."""

from datetime import datetime

import msgspec

from loopline.errors import NotFound
from loopline.pipelines.engine import Engine, Facts
from loopline.pipelines.executions import rerun
from loopline.pipelines.healing.postponed import Postponed, StartWindow, postpone
from loopline.pipelines.healing.remedies import SkipWindow
from loopline.storage.database import Transaction
from loopline.storage.statements import Sql, Statements
from loopline.values import Window, from_micros, micros

_GIVEN = Sql("select params, window_start, window_end from execution where id = ?")
_OF_WINDOW = Sql(
    "select id from execution where project = ? and pipeline = ? and window_start = ? and window_end = ? order by sequence desc"
)


def postpone_window(sql: Statements, facts: Facts, remedy: SkipWindow, *, at: datetime, why: str) -> Postponed | None:
    """Put the execution's window off; None where it has none, is not to be executed again, or only the process that submitted it could."""
    [(params, start, end)] = sql.rows(_GIVEN, facts.id)
    if start is None or facts.code is None:
        return None
    return postpone(
        sql.tx,
        remedy,
        project=facts.project,
        pipeline=facts.pipeline,
        params=msgspec.json.decode(params),
        window=Window(from_micros(start), from_micros(end)),
        execution=facts.id,
        at=at,
        why=why,
    )


def starting(engine: Engine) -> StartWindow:
    """What starts a window that was put off: the execution that skipped it is run again, with its code and params; what is done is reused."""

    def start(tx: Transaction, one: Postponed, _: datetime) -> str:
        times = (micros(one.window_start), micros(one.window_end))
        rows = Statements.of(tx).rows(_OF_WINDOW, one.project, one.pipeline, *times)
        found = next((str(row[0]) for row in rows if one.is_of(str(row[0]))), None)
        if found is None:
            raise NotFound(
                "postponed.no_execution",
                f"no execution of {one.pipeline} has {one.window}",
                remedy="Run the window anew.",
            )
        return rerun(tx, engine, found, by="healing", fresh=False, origin="postponed")

    return start
