"""How an execution goes on: each change of a step, and all that follows from it, in one transaction.

Every function takes the caller's transaction. Whoever changes an execution's steps locks its row first, so that two workers cannot wait for each
other; on SQLite a writer is alone already.
"""

from typing import Any

import msgspec

from loopline.pipelines import cache
from loopline.pipelines.arguments import resolve, value_of
from loopline.pipelines.cache import Parts
from loopline.pipelines.codecs import Value
from loopline.pipelines.engine import MOST_LOSSES, Claimed, Engine
from loopline.pipelines.expand import expand
from loopline.pipelines.faults import Failure
from loopline.pipelines.graph import read_binding, read_bindings, text_of
from loopline.storage.statements import Sql, Statements

_LOCK = Sql("select id from execution where id = ? {for_update}")
_FENCE = "where execution = ? and number = ? and attempt = ? and state = 'running'"
_DONE = Sql(
    "update step set state = 'done', result = ?, cached = ?, reused = ?, worker = null, leased_until = null, error = null, ended_at = ? "
    + _FENCE
)
_AGAIN = Sql(
    "update step set state = 'ready', ready_at = {now} + ?, failures = failures + ?, losses = losses + ?, worker = null, leased_until = null "
    + _FENCE
)
_FAILED = Sql(
    "update step set state = 'failed', error = ?, failures = failures + 1, worker = null, leased_until = null, ended_at = ? "
    + _FENCE
)
_ATTEMPT = Sql(
    "update attempt set state = ?, ended_at = ?, seconds = ?, log = ?, error = ? where execution = ? and number = ? and attempt = ?"
)
_DOWN = (
    "update step set waits_for = waits_for - 1, ready_at = {now},"
    " state = case when waits_for = 1 and plain = 1 and missing = 0 then 'ready' else state end"
)
_WAITED = "and state = 'waiting' returning number, waits_for, state"
_COUNT_DOWN = Sql(f"{_DOWN} where execution = ? and number {{any}} {_WAITED}")
_COUNT_DOWN_ONE = Sql(f"{_DOWN} where execution = ? and number = ? {_WAITED}")
_MISSING = Sql("update step set missing = 1 where execution = ? and number {any} and state = 'waiting'")
_ROW = Sql(
    "select number, name, kind, bindings, condition, missing, needed_by, wanted_by, parent, expanded from step"
    " where execution = ? and number = ?"
)
_END_STEP = Sql("update step set state = ?, result = ?, error = ?, ended_at = ? where execution = ? and number = ?")
_READY = Sql("update step set state = 'ready', ready_at = {now} where execution = ? and number = ?")
_EXPANDED = Sql("update step set expanded = 1, waits_for = ? where execution = ? and number = ?")
_ADDED = Sql("update execution set open = open + ? where id = ?")
_CLOSE = Sql("update execution set open = open - ?, failed = failed + ? where id = ? returning open, failed")
_END = Sql("update execution set state = ?, ended_at = ? where id = ? and state = 'running'")
_FALL = Sql(
    "update step set state = 'cancelled', error = ?, ended_at = ? where execution = ? and number {any} and state = 'waiting'"
    " returning number, needed_by, wanted_by, parent"
)
_FALL_GROUP = Sql(
    "update step set state = 'failed', error = ?, ended_at = ? where execution = ? and number = ? and state = 'waiting'"
    " returning number, needed_by, wanted_by, parent"
)
_EXPIRED = Sql(
    "select name, losses from step where execution = ? and number = ? and attempt = ? and state = 'running' and leased_until < {now}"
)
_LOST = Sql(f"select name, losses from step {_FENCE} and worker = ?")
_FIRST_WAIT = 250

_NUMBERS = msgspec.json.Decoder(list[int])


class _Ended(msgspec.Struct):
    """A step that came to its end, and who hears of it."""

    number: int
    needed_by: list[int]
    wanted_by: list[int]
    parent: int | None
    skipped: bool = False


def complete(
    engine: Engine,
    sql: Statements,
    claimed: Claimed,
    result: Value,
    *,
    worker: str,
    seconds: float = 0.0,
    log: str | None = None,
    parts: Parts | None = None,
    reused: str | None = None,
) -> bool:
    """Commit a step's result and all that follows. False, and nothing changed, where the step is not this attempt's any more.

    With `parts` the result is kept for others; `reused` is the execution that it was taken from.
    """
    lock(sql, claimed.execution)
    text, at = text_of(result), engine.now()
    key = None if parts is None else parts.key
    if not sql.change(_DONE, text, key, reused, at, claimed.execution, claimed.number, claimed.attempt):
        return False
    kind = "reused" if reused else "done"
    sql.later(_ATTEMPT, kind, at, seconds, log, None, claimed.execution, claimed.number, claimed.attempt)
    detail = text_of({"from": reused}) if reused else None
    engine.record(sql, claimed.execution, kind, claimed.number, claimed.attempt, worker, detail, at=at)
    if parts is not None and key is not None and reused is None:
        cache.remember(sql, parts, key, text, claimed, at)
    ended = _Ended(claimed.number, _read(claimed.needed_by), _read(claimed.wanted_by), claimed.parent)
    settle(engine, sql, claimed.execution, [ended])
    return True


def fail(
    engine: Engine,
    sql: Statements,
    claimed: Claimed,
    failure: Failure,
    *,
    worker: str,
    seconds: float = 0.0,
    log: str | None = None,
) -> bool:
    """Commit that an attempt failed: the step is tried again later, or has failed for good and what needs it is cancelled."""
    lock(sql, claimed.execution)
    key = (claimed.execution, claimed.number, claimed.attempt)
    failed, retrying = claimed.failures + 1, claimed.options.retries
    if retrying.retries(failed, failure.error_class, failure.kinds):
        wait = retrying.wait(failed, engine.seed, claimed.execution, claimed.name)
        if not sql.change(_AGAIN, wait, 1, 0, *key):
            return False
        _close_failed(engine, sql, claimed, seconds, log, failure)
        detail = text_of({"class": failure.error_class, "message": failure.message, "wait": wait / 1000})
        engine.record(sql, *key[:1], "retrying", *key[1:], worker, detail)
        return True
    if not sql.change(_FAILED, text_of(failure), engine.now(), *key):
        return False
    _close_failed(engine, sql, claimed, seconds, log, failure)
    detail = text_of({"class": failure.error_class, "message": failure.message})
    engine.record(sql, *key[:1], "failed", *key[1:], worker, detail)
    ended = _Ended(claimed.number, _read(claimed.needed_by), _read(claimed.wanted_by), claimed.parent)
    _fall(engine, sql, claimed.execution, ended, claimed.name)
    return True


def release(engine: Engine, sql: Statements, execution: str, number: int, attempt: int, *, worker: str) -> bool:
    """Give a step back unfinished: a worker that stops in order loses nothing by it."""
    lock(sql, execution)
    if not sql.change(_AGAIN, 0, 0, 0, execution, number, attempt):
        return False
    sql.later(_ATTEMPT, "released", engine.now(), None, None, None, execution, number, attempt)
    engine.record(sql, execution, "released", number, attempt, worker)
    return True


def lose(
    engine: Engine,
    sql: Statements,
    execution: str,
    number: int,
    attempt: int,
    *,
    worker: str,
    because: str | None = None,
) -> bool:
    """Take a step from a worker whose lease has ended. It is ready again; one that took several workers with it has failed.

    With `because` its own worker says so, whose executor lost it; then it waits, longer each time: a cluster needs a while to see that a node is gone.
    """
    lock(sql, execution)
    key = (execution, number, attempt)
    row = sql.first(_EXPIRED, *key) if because is None else sql.first(_LOST, *key, worker)
    if row is None:
        return False
    sql.later(_ATTEMPT, "lost", engine.now(), None, None, None, *key)
    engine.record(
        sql, execution, "lost", number, attempt, worker, None if because is None else text_of({"because": because})
    )
    if row[1] + 1 < MOST_LOSSES:
        sql.change(_AGAIN, 0 if because is None else _FIRST_WAIT << 2 * row[1], 0, 1, *key)
        return True
    failure = Failure("capacity", "step.lost", f"{MOST_LOSSES} workers were lost while they ran it")
    sql.change(_FAILED, text_of(failure), engine.now(), execution, number, attempt)
    engine.record(
        sql, execution, "failed", number, attempt, worker, text_of({"class": "capacity", "message": failure.message})
    )
    [(_, name, _, _, _, _, needed, wanted, parent, _)] = sql.rows(_ROW, execution, number)
    _fall(engine, sql, execution, _Ended(number, _read(needed), _read(wanted), parent), name)
    return True


def settle(engine: Engine, sql: Statements, execution: str, ended: list[_Ended], *, closed: int | None = None) -> None:
    """Tell the steps that wait for these, and theirs in turn: they become ready, are skipped, or fan out."""
    count, failed = len(ended) if closed is None else closed, 0
    waiting = list(ended)
    while waiting:
        one = waiting.pop()
        for number in _told(sql, execution, one):
            row = sql.rows(_ROW, execution, number)[0]
            after, error = _decide(engine, sql, execution, row)
            if error is not None:
                failed += 1
                count += 1 + _cancel_below(engine, sql, execution, after, row[1])[0]
            elif after is not None:
                count += 1
                waiting.append(after)
    if count:
        close(engine, sql, execution, count, failed)


def decide_all(engine: Engine, sql: Statements, execution: str, numbers: list[int]) -> None:
    """Let steps that wait for nothing become ready, be skipped, or fan out: how an execution begins, and goes on when it is resumed."""
    ended, closed = [], 0
    for number in numbers:
        row = sql.rows(_ROW, execution, number)[0]
        after, error = _decide(engine, sql, execution, row)
        if error is not None:
            below, failed = _cancel_below(engine, sql, execution, after, row[1])
            close(engine, sql, execution, 1 + below, 1 + failed)
        elif after is not None:
            ended.append(after)
            closed += 1
    settle(engine, sql, execution, ended, closed=closed)


def close(engine: Engine, sql: Statements, execution: str, count: int, failed: int) -> None:
    """Count so many steps as ended; with the last the execution has ended."""
    [(open_, all_failed)] = sql.rows(_CLOSE, count, failed, execution)
    if open_ == 0:
        state = "failed" if all_failed else "done"
        if sql.change(_END, state, engine.now(), execution):
            engine.record(sql, execution, "ended", detail=text_of({"state": state}))


def lock(sql: Statements, execution: str) -> None:
    """Nobody else changes this execution's steps until the transaction ends."""
    if sql.remote:
        sql.later(_LOCK, execution)


def _told(sql: Statements, execution: str, one: _Ended) -> list[int]:
    """Count down those who waited for it; the ones that now wait for nothing and are not simply ready."""
    found = []
    if one.skipped and one.needed_by:
        sql.change(_MISSING, execution, sql.array(one.needed_by))
    hearing = one.needed_by + one.wanted_by if one.parent is None else [one.parent, *one.needed_by, *one.wanted_by]
    if hearing:
        alone = len(hearing) == 1
        rows = (
            sql.rows(_COUNT_DOWN_ONE, execution, hearing[0])
            if alone
            else sql.rows(_COUNT_DOWN, execution, sql.array(hearing))
        )
        found = [number for number, left, state in rows if left == 0 and state == "waiting"]
    return sorted(found)


def _decide(engine: Engine, sql: Statements, execution: str, row: Any) -> tuple[_Ended | None, Failure | None]:
    """What becomes of a step that waits for nothing any more: its end, if it has come, and the failure, if it is one."""
    number, _, kind, bindings, condition, missing, needed, wanted, parent, expanded = row
    ended = _Ended(number, _read(needed), _read(wanted), parent)
    if kind == "each" and expanded:
        return _end(engine, sql, execution, ended, "done", '{"codec":"each","digest":""}'), None
    if missing or (condition is not None and not _holds(engine, sql, execution, condition)):
        why = "an input was skipped" if missing else "its condition is false"
        engine.record(sql, execution, "skipped", number, detail=text_of({"because": why}))
        ended.skipped = True
        return _end(engine, sql, execution, ended, "skipped", None), None
    if kind != "each":
        sql.change(_READY, execution, number)
        return None, None
    try:
        count = expand(engine, sql, execution, number, read_bindings(bindings))
    except Exception as error:  # the value that was to be fanned out is the user's
        failure = Failure.of(error)
        sql.change(_END_STEP, "failed", None, text_of(failure), engine.now(), execution, number)
        engine.record(
            sql, execution, "failed", number, detail=text_of({"class": failure.error_class, "message": failure.message})
        )
        return ended, failure
    engine.record(sql, execution, "expanded", number, detail=text_of({"count": count}))
    sql.change(_EXPANDED, count, execution, number)
    if count == 0:
        return _end(engine, sql, execution, ended, "done", '{"codec":"each","digest":""}'), None
    sql.change(_ADDED, count, execution)
    return None, None


def _end(engine: Engine, sql: Statements, execution: str, ended: _Ended, state: str, result: str | None) -> _Ended:
    sql.change(_END_STEP, state, result, None, engine.now(), execution, ended.number)
    return ended


def _holds(engine: Engine, sql: Statements, execution: str, condition: str) -> bool:
    resolved = resolve(sql, execution, {"when": read_binding(condition)})
    return bool(value_of(resolved["when"], None, engine.artifacts))


def _fall(engine: Engine, sql: Statements, execution: str, ended: _Ended, name: str) -> None:
    below, failed = _cancel_below(engine, sql, execution, ended, name)
    close(engine, sql, execution, 1 + below, 1 + failed)


def _cancel_below(engine: Engine, sql: Statements, execution: str, ended: _Ended | None, name: str) -> tuple[int, int]:
    """Cancel all that waits for a step that failed; its fan-out fails with it. How many came to their end, and how many of them failed."""
    because, at = text_of({"because": name}), engine.now()
    count = failed = 0
    waiting = [] if ended is None else [ended]
    while waiting:
        one = waiting.pop()
        rows: list[Any] = []
        if one.parent is not None:
            groups = sql.rows(_FALL_GROUP, because, at, execution, one.parent)
            failed += len(groups)
            rows += groups
        hearing = one.needed_by + one.wanted_by
        if hearing:
            fallen = sql.rows(_FALL, because, at, execution, sql.array(hearing))
            for row in fallen:
                engine.record(sql, execution, "cancelled", row[0], detail=because)
            rows += fallen
        count += len(rows)
        waiting += [_Ended(number, _read(needed), _read(wanted), parent) for number, needed, wanted, parent in rows]
    return count, failed


def _close_failed(
    engine: Engine,
    sql: Statements,
    claimed: Claimed,
    seconds: float,
    log: str | None,
    failure: Failure,
) -> None:
    key = (claimed.execution, claimed.number, claimed.attempt)
    sql.later(_ATTEMPT, "failed", engine.now(), seconds, log, text_of(failure), *key)


def _read(text: str) -> list[int]:
    return [] if text == "[]" else _NUMBERS.decode(text)
