"""Executions: submitted, cancelled, run again. Each takes the caller's transaction."""

from collections.abc import Iterator
from typing import Any

import msgspec

from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.pipelines.advance import decide_all, lock
from loopline.pipelines.engine import MAPPED, Engine
from loopline.pipelines.graph import Graph, Node, text_of
from loopline.pipelines.limits import Limit
from loopline.pipelines.planning import Plan
from loopline.pipelines.prune import check_kept
from loopline.storage.database import Transaction
from loopline.storage.database import lock as lock_named
from loopline.storage.statements import Row, Sql, Statements
from loopline.values import derive_id, digest, micros

PROJECT = "default"

_BY_KEY = Sql("select id from execution where project = ? and pipeline = ? and key = ?")
_SEQUENCE = Sql("select coalesce(max(sequence), 0) + 1 from execution where project = ? and pipeline = ?")
_INSERT = Sql(
    "insert into execution (id, project, pipeline, sequence, key, origin, again, state, priority, window_start, window_end, params, code,"
    " result, fresh, open, failed, numbers, created_at, created_by)"
    " values (?, ?, ?, ?, ?, ?, ?, 'running', ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)"
)
_STEP = Sql(
    "insert into step (execution, number, name, kind, function, code, bindings, condition, options, cores, memory, limited, rank, plain,"
    " needed_by, wanted_by, expanded, state, waits_for, missing, ready_at, attempt, failures, losses)"
    " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 'waiting', ?, 0, 0, 0, 0, 0)"
)
_BEGIN = Sql("update step set state = 'ready', ready_at = {now} where execution = ? and waits_for = 0 and plain = 1")
_BEGIN_OTHERS = Sql("select number from step where execution = ? and waits_for = 0 and plain = 0 order by number")
_LIMIT = Sql(
    "insert into limits (name, concurrency, rate, per, due) values (?, ?, ?, ?, 0) on conflict (name) do update set"
    " concurrency = excluded.concurrency, rate = excluded.rate, per = excluded.per"
)
_LIMITS = Sql("select name from limits")
_STATE = Sql("select state from execution where id = ?")
_CANCEL_STEPS = Sql(
    "update step set state = 'cancelled', ended_at = ?, worker = null, leased_until = null"
    " where execution = ? and state in ('waiting', 'ready', 'running')"
)
_CANCEL_ATTEMPTS = Sql("update attempt set state = 'cancelled', ended_at = ? where execution = ? and state = 'running'")
_CANCEL = Sql("update execution set state = 'cancelled', ended_at = ?, open = 0 where id = ?")
_COPY = Sql(
    "select pipeline, project, priority, window_start, window_end, params, code, result from execution where id = ?"
)
_NODES = Sql(
    "insert into step (execution, number, name, kind, function, code, bindings, condition, options, cores, memory, limited, rank, plain,"
    " needed_by, wanted_by, expanded, state, waits_for, missing, ready_at, attempt, failures, losses)"
    " select ?, number, name, kind, function, code, bindings, condition, options, cores, memory, limited, rank, plain, needed_by,"
    " wanted_by, 0, 'waiting', 0, 0, 0, 0, 0, 0 from step where execution = ? and parent is null"
)
_END = Sql("update execution set state = 'done', ended_at = ? where id = ?")
_COUNT = Sql("select count(*), coalesce(max(number), -1) + 1 from step where execution = ?")
_OPEN = Sql("update execution set open = ?, numbers = ? where id = ?")
_FEEDS = Sql("select number, needed_by, wanted_by from step where execution = ? order by number")
_WAITS = Sql("update step set waits_for = ? where execution = ? and number = ?")


def submit(
    tx: Transaction,
    engine: Engine,
    planned: Plan,
    *,
    key: str | None = None,
    origin: str = "run",
    by: str = "",
    fresh: bool = False,
    priority: int | None = None,
    project: str = PROJECT,
) -> tuple[str, bool]:
    """Submit an execution; its id, and whether it is new. With a `key` that this pipeline has an execution of, that one's.

    `fresh` takes nothing from the cache. From the commit on any worker may run its steps.
    """
    lock_named(tx, "executions", project, planned.pipeline)
    sql = Statements.of(tx)
    found = sql.first(_BY_KEY, project, planned.pipeline, key) if key is not None else None
    if found is not None:
        return str(found[0]), False
    set_limits(sql, planned.limits)
    _check_limits(sql, planned)
    graph, window = planned.graph, planned.window
    rank = planned.priority if priority is None else priority
    [(sequence,)] = sql.rows(_SEQUENCE, project, planned.pipeline)
    name = derive_id("ex", engine.seed, project, planned.pipeline, sequence)
    times = (None, None) if window is None else (micros(window.start), micros(window.end))
    count = len(graph.nodes)
    head = (name, project, planned.pipeline, sequence, key, origin, None, rank, *times, planned.params, planned.code)
    sql.change(_INSERT, *head, text_of(graph.result), int(fresh), count, count, engine.now(), by)
    sql.many(_STEP, _rows(name, graph, rank))
    _begin(engine, sql, name, count, {"origin": origin, "by": by})
    return name, True


def key_for(window: Any, params: str) -> str:
    """What makes an execution of a pipeline the same as another: its window and its params."""
    return digest(f"{window}\x1f{params}".encode())


def set_limits(sql: Statements, limits: list[Limit]) -> None:
    """Put limits in force, from now on and for everyone."""
    for one in limits:
        sql.change(_LIMIT, one.name, one.concurrency, one.rate, one.per)


def _check_limits(sql: Statements, planned: Plan) -> None:
    known = {row[0] for row in sql.rows(_LIMITS)}
    for node in planned.graph.nodes:
        if node.options.limit is not None and node.options.limit not in known:
            raise InvalidInput(
                "pipeline.limit_unknown",
                f"`{node.name}` names the limit {node.options.limit!r}, which is declared nowhere",
                remedy="Declare it on the pipeline, limits={...}, or in LOOPLINE_LIMITS.",
            )


def cancel(tx: Transaction, engine: Engine, execution: str, *, by: str = "") -> None:
    """Cancel what has not ended. Nothing of it is committed any more; workers that are at it are told within a second and kill it.

    Raises `NotFound` "execution.unknown" and `Conflict` "execution.ended".
    """
    sql = Statements.of(tx)
    lock(sql, execution)
    state = state_of(sql, execution)
    if state != "running":
        raise Conflict(
            "execution.ended",
            f"the execution {execution} is {state} already",
            remedy="There is nothing left to cancel.",
        )
    now = engine.now()
    sql.change(_CANCEL_STEPS, now, execution)
    sql.change(_CANCEL_ATTEMPTS, now, execution)
    sql.change(_CANCEL, now, execution)
    engine.record(sql, execution, "ended", detail=text_of({"state": "cancelled", "by": by}))


def rerun(
    tx: Transaction, engine: Engine, execution: str, *, by: str = "", fresh: bool = True, origin: str = "rerun"
) -> str:
    """Submit the same execution again, with the code it was planned with; its id. `fresh` takes nothing from the cache.

    Raises `NotFound` "execution.unknown", `Conflict` "execution.pruned" and `InvalidInput` "execution.not_pinned".
    """
    sql = Statements.of(tx)
    state_of(sql, execution)
    check_kept(sql, execution)
    [(pipeline, project, priority, start, end, params, code, result)] = sql.rows(_COPY, execution)
    check_pinned(execution, code)
    lock_named(tx, "executions", project, pipeline)
    [(sequence,)] = sql.rows(_SEQUENCE, project, pipeline)
    name = derive_id("ex", engine.seed, project, pipeline, sequence)
    head = (name, project, pipeline, sequence, None, origin, execution, priority, start, end, params, code, result)
    sql.change(_INSERT, *head, int(fresh), 0, 0, engine.now(), by)
    sql.change(_NODES, name, execution)
    [(count, numbers)] = sql.rows(_COUNT, name)
    sql.change(_OPEN, count, numbers, name)
    waits: dict[int, int] = {}
    for _, needed, wanted in sql.rows(_FEEDS, name):
        for number in msgspec.json.decode(needed) + msgspec.json.decode(wanted):
            waits[number] = waits.get(number, 0) + 1
    sql.many(_WAITS, [(waited, name, number) for number, waited in waits.items()])
    _begin(engine, sql, name, count, {"origin": origin, "by": by, "again": execution})
    return name


def check_pinned(execution: str, code: str | None) -> None:
    """Raise `InvalidInput` "execution.not_pinned" for one whose steps only the process that submitted it could import."""
    if code is None:
        raise InvalidInput(
            "execution.not_pinned",
            f"the steps of {execution} stand in no file that could be kept",
            remedy="Put the steps at the top level of a Python file and run that.",
        )


def state_of(sql: Statements, execution: str) -> str:
    """The state. Raises `NotFound` "execution.unknown"."""
    row = sql.first(_STATE, execution)
    if row is None:
        raise NotFound(
            "execution.unknown", f"there is no execution {execution}", remedy="`loopline executions` lists them."
        )
    return str(row[0])


def _begin(engine: Engine, sql: Statements, name: str, count: int, detail: dict[str, Any]) -> None:
    engine.record(sql, name, "submitted", detail=text_of({**detail, "steps": count}))
    others = [row[0] for row in sql.rows(_BEGIN_OTHERS, name)]
    sql.change(_BEGIN, name)
    if count == 0:
        _end_at_once(engine, sql, name)
    decide_all(engine, sql, name, others)


def _end_at_once(engine: Engine, sql: Statements, name: str) -> None:
    """An execution without steps has ended as it begins."""
    sql.change(_END, engine.now(), name)
    engine.record(sql, name, "ended", detail=text_of({"state": "done"}))


def _rows(execution: str, graph: Graph, priority: int) -> Iterator[Row]:
    needed: list[list[int]] = [[] for _ in graph.nodes]
    wanted: list[list[int]] = [[] for _ in graph.nodes]
    waits = [0] * len(graph.nodes)
    for node in graph.nodes:
        sources: dict[int, bool] = {}
        for number, optional in node.sources():
            sources[number] = sources.get(number, True) and optional
        for number, optional in sources.items():
            (wanted if optional else needed)[number].append(node.number)
        waits[node.number] = len(sources)
    for node in graph.nodes:
        yield _row(execution, node, priority, needed[node.number], wanted[node.number], waits[node.number])


def _row(execution: str, node: Node, priority: int, needed: list[int], wanted: list[int], waits: int) -> Row:
    bindings = {(f"{MAPPED}{name}" if name in node.mapped else name): one for name, one in node.bindings.items()}
    condition = None if node.condition is None else text_of(node.condition)
    options = node.options
    plain = int(node.kind == "step" and condition is None)
    return (
        execution, node.number, node.name, node.kind, node.function, node.code, text_of(bindings), condition, text_of(options), options.cores,
        options.memory, options.limit, -(priority + options.priority), plain, text_of(needed), text_of(wanted), waits,
    )  # fmt: skip
