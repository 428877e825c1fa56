"""What a person or program asks of executions: lists, states, results, history."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from loopline.errors import InvalidInput, LooplineError, NotFound
from loopline.pipelines.arguments import resolve, value_of
from loopline.pipelines.failure import StepError
from loopline.pipelines.graph import read_binding
from loopline.storage.artifacts import ArtifactStore
from loopline.storage.database import Transaction
from loopline.storage.statements import Row, Sql, Statements
from loopline.values import from_micros

_COLUMNS = (
    "id, project, pipeline, sequence, origin, again, state, priority, window_start, window_end, params, fresh, created_at, created_by,"
    " ended_at, result"
)
_LIST = Sql(  # the columns are ours
    f"select {_COLUMNS} from execution where (? = '' or pipeline = ?) and (? = '' or state = ?) order by created_at desc, sequence desc limit ?"
)
_ONE = Sql(f"select {_COLUMNS} from execution where id = ?")
_BEGINNING = Sql("select id from execution where id like ? order by id limit 2")
_NEWEST = Sql("select id from execution order by created_at desc, sequence desc limit 1")
_COUNTS = Sql("select state, count(*) from step where execution = ? and kind = 'step' group by state")
_STEPS = Sql(
    "select s.number, s.name, s.kind, s.state, s.attempt, s.failures, s.worker, s.reused, s.error, s.instead, s.ended_at, a.started_at, a.seconds, a.log"
    " from step s left join attempt a on a.execution = s.execution and a.number = s.number and a.attempt = s.attempt"
    " where s.execution = ? and s.number > ? order by s.number limit ?"
)
_EVENTS = Sql(
    "select e.id, e.at, e.kind, s.name, e.number, e.attempt, e.worker, e.detail from event e"
    " left join step s on s.execution = e.execution and s.number = e.number where e.execution = ? and e.id > ? order by e.id limit ?"
)
_ATTEMPTS = Sql(
    "select attempt, worker, state, started_at, ended_at, seconds, log, error from attempt where execution = ? and number = ? order by attempt"
)
_PIPELINES = Sql("select pipeline, count(*), max(created_at) from execution group by pipeline order by pipeline")
_PAGE = 500


class ExecutionRow(msgspec.Struct, frozen=True):
    """One run of a pipeline; `steps` counts its steps by state."""

    execution: str
    project: str
    pipeline: str
    sequence: int
    origin: str
    again: str | None
    state: str
    priority: int
    window: tuple[datetime, datetime] | None
    params: dict[str, Any]
    fresh: bool
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    steps: dict[str, int]


class StepRow(msgspec.Struct, frozen=True):
    """A step and its last attempt; `log` is the digest of what that printed, `reused` the execution its result was taken from, `instead`
    what a remedy put in place of its inputs, its function or its result.
    """

    number: int
    name: str
    kind: str
    state: str
    attempt: int
    failures: int
    worker: str | None
    reused: str | None
    error: dict[str, Any] | None
    instead: dict[str, Any] | None
    ended_at: datetime | None
    started_at: datetime | None
    seconds: float | None
    log: str | None


class EventRow(msgspec.Struct, frozen=True):
    """Something that happened to an execution or one of its steps."""

    id: int
    at: datetime
    kind: str
    step: str | None
    number: int | None
    attempt: int | None
    worker: str | None
    detail: dict[str, Any] | None


class AttemptRow(msgspec.Struct, frozen=True):
    """One attempt at a step."""

    attempt: int
    worker: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    seconds: float | None
    log: str | None
    error: dict[str, Any] | None


def find_executions(tx: Transaction, *, pipeline: str = "", state: str = "", limit: int = 20) -> list[ExecutionRow]:
    """Executions, the newest first."""
    sql = Statements.of(tx)
    return [_execution(sql, row) for row in sql.rows(_LIST, pipeline, pipeline, state, state, limit)]


def get_execution(tx: Transaction, execution: str) -> ExecutionRow:
    """One execution. Raises `NotFound` "execution.unknown"."""
    sql = Statements.of(tx)
    return _execution(sql, _row(sql, execution))


def resolve_execution(tx: Transaction, beginning: str | None) -> str:
    """The id that begins so, or the newest. Raises `NotFound` "execution.unknown" and `InvalidInput` "execution.ambiguous"."""
    sql = Statements.of(tx)
    rows = sql.rows(_BEGINNING, f"{beginning}%") if beginning else sql.rows(_NEWEST)
    if len(rows) > 1:
        raise InvalidInput(
            "execution.ambiguous", f"several executions begin with {beginning}", remedy="Give more of the id."
        )
    if not rows:
        raise NotFound(
            "execution.none", f"there is no execution {beginning or 'yet'}", remedy="`loopline executions` lists them."
        )
    return str(rows[0][0])


def steps_of(tx: Transaction, execution: str) -> Iterator[StepRow]:
    """The steps in their order, read page by page."""
    sql, last = Statements.of(tx), -1
    while rows := sql.rows(_STEPS, execution, last, _PAGE):
        last = rows[-1][0]
        for *plain, error, instead, ended, started, seconds, log in rows:
            yield StepRow(*[*plain, _json(error), _json(instead), _time(ended), _time(started), seconds, log])


def events_of(tx: Transaction, execution: str) -> Iterator[EventRow]:
    """All that happened, in order, read page by page."""
    sql, last = Statements.of(tx), 0
    while rows := sql.rows(_EVENTS, execution, last, _PAGE):
        last = rows[-1][0]
        for number, at, kind, name, step, attempt, worker, detail in rows:
            yield EventRow(number, from_micros(at), kind, name, step, attempt, worker, _json(detail))


def attempts_of(tx: Transaction, execution: str, number: int) -> list[AttemptRow]:
    """The attempts at one step."""
    rows = Statements.of(tx).rows(_ATTEMPTS, execution, number)
    return [
        AttemptRow(attempt, worker, state, from_micros(started), _time(ended), seconds, log, _json(error))
        for attempt, worker, state, started, ended, seconds, log, error in rows
    ]


def pipelines_known(tx: Transaction) -> list[tuple[str, int, datetime]]:
    """Pipelines that were run: name, how many executions, when the last began."""
    return [(name, count, from_micros(last)) for name, count, last in Statements.of(tx).rows(_PIPELINES)]


def result_of(tx: Transaction, execution: str, artifacts: ArtifactStore, wanted: Any = None) -> Any:
    """What the pipeline returned. Raises `NotFound` "execution.unknown" and `InvalidInput` "execution.not_done"."""
    sql = Statements.of(tx)
    row = _row(sql, execution)
    if row[6] != "done":
        raise InvalidInput(
            "execution.not_done",
            f"the execution {execution} is {row[6]}",
            remedy=f"See `loopline executions show {execution}`.",
        )
    return value_of(resolve(sql, execution, {"result": read_binding(row[15])})["result"], wanted, artifacts)


def failures_of(tx: Transaction, execution: str) -> list[tuple[str, StepError]]:
    """The steps that failed by themselves, with what went wrong."""
    failed = (step for step in steps_of(tx, execution) if step.state == "failed")
    return [
        (step.name, msgspec.convert(step.error, StepError)) for step in failed if "error_class" in (step.error or {})
    ]


def _row(sql: Statements, execution: str) -> Row:
    row = sql.first(_ONE, execution)
    if row is None:
        raise _unknown(execution)
    return row


def _unknown(execution: str) -> LooplineError:
    return NotFound(
        "execution.missing", f"there is no execution {execution}", remedy="`loopline executions` lists them."
    )


def _execution(sql: Statements, row: Row) -> ExecutionRow:
    (
        name,
        project,
        pipeline,
        sequence,
        origin,
        again,
        state,
        priority,
        start,
        end,
        params,
        fresh,
        created,
        by,
        ended,
        _,
    ) = row
    window = None if start is None else (from_micros(start), from_micros(end))
    return ExecutionRow(
        name, project, pipeline, sequence, origin, again, state, priority, window, msgspec.json.decode(params), bool(fresh),
        from_micros(created), by, _time(ended), dict(sql.rows(_COUNTS, name)),
    )  # fmt: skip


def _json(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


def _time(at: int | None) -> datetime | None:
    return None if at is None else from_micros(at)
