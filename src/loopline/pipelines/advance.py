"""How an execution goes on: each change of a step, and all that follows from it, in one transaction.

Every function takes the caller's transaction. Whoever changes an execution's steps locks its row first, so that two workers cannot wait for each
other; on SQLite a writer is alone already.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from loopline.pipelines import completion
from loopline.pipelines.arguments import resolve, value_of
from loopline.pipelines.cache import Parts
from loopline.pipelines.codecs import Value
from loopline.pipelines.completion import CLOSE_ATTEMPT, Done, Taker, count_down
from loopline.pipelines.engine import Claimed, Engine
from loopline.pipelines.expand import expand
from loopline.pipelines.failure import Failure, StepError
from loopline.pipelines.graph import Binding, Constant, read_binding, read_bindings, text_of
from loopline.pipelines.healing import record
from loopline.pipelines.healing.classes import classify
from loopline.storage.statements import Sql, Statements

_LOCK = Sql("select id from execution where id = ? {for_update}")
_FENCE = "where execution = ? and number = ? and attempt = ? and state = 'running'"
_AGAIN = Sql("update step set state = 'ready', ready_at = {now}, worker = null, leased_until = null " + _FENCE)
_SKIP = Sql("update step set state = 'skipped', error = ?, worker = null, leased_until = null, ended_at = ? " + _FENCE)
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

_NUMBERS = msgspec.json.Decoder(list[int])


class Ended(msgspec.Struct):
    """A step that came to its end, and who hears of it."""

    number: int
    needed_by: list[int]
    wanted_by: list[int]
    parent: int | None
    skipped: bool = False

    @property
    def hearing(self) -> list[int]:
        """All who wait for it; an element's fan-out does."""
        hearing = self.needed_by + self.wanted_by
        return hearing if self.parent is None else [self.parent, *hearing]


@dataclass(frozen=True)
class Committed:
    """An attempt that was committed, its result if it had one, and the step that was handed over with that."""

    claimed: Claimed
    result: Value | None = None
    handed: Claimed | None = None

    @property
    def given(self) -> dict[int, Binding]:
        """What the step that was handed over takes from this one, by this one's number."""
        return {} if self.result is None or self.handed is None else {self.claimed.number: Constant(self.result)}


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
    attempted: bool = True,
    taker: Taker | None = None,
) -> Committed | None:
    """Commit a step's result and all that follows. None, and nothing changed, where the step is not this attempt's any more.

    With `parts` the result is kept for others; `reused` is the execution that it was taken from. Without `attempted` the result is none of the
    attempt's, which has ended already. With a `taker` the step that waits for this one may be handed over to it.
    """
    lock(sql, claimed.execution)
    detail = text_of({"from": reused}) if reused else None
    if claimed.failures and claimed.instead:
        detail = text_of({"instead": claimed.instead.kind})
    ended = ended_of(claimed)
    done = Done(
        claimed, text_of(result), "reused" if reused else "done", engine.now(), worker, ended.hearing, seconds, log, detail,
        None if parts is None else parts.key, reused, parts, attempted,
    )  # fmt: skip
    told = completion.write(engine, sql, done, taker)
    if told is None:
        return None
    if claimed.failures:
        _helped(engine, sql, claimed)
    if told.waiting:
        settle(engine, sql, claimed.execution, [], told=told.waiting)
    elif told.open == 0:
        _over(engine, sql, claimed.execution, told.failed)
    return Committed(claimed, result, told.handed)


def skip(
    engine: Engine, sql: Statements, claimed: Claimed, error: str, attempt: int, worker: str, detail: dict[str, Any]
) -> None:
    """Commit that a claimed step is skipped for its error, and with it what needs it; a fan-out with any of its elements."""
    sql.change(_SKIP, error, engine.now(), claimed.execution, claimed.number, attempt)
    engine.record(sql, claimed.execution, "skipped", claimed.number, attempt, worker, text_of(detail))
    if claimed.parent is not None:
        sql.change(_MISSING, claimed.execution, sql.array([claimed.parent]))
    settle(engine, sql, claimed.execution, [msgspec.structs.replace(ended_of(claimed), skipped=True)])


def ended_of(claimed: Claimed) -> "Ended":
    """A claimed step at its end."""
    return Ended(claimed.number, _read(claimed.needed_by), _read(claimed.wanted_by), claimed.parent)


def _helped(engine: Engine, sql: Statements, claimed: Claimed) -> None:
    cost = {} if claimed.instead is None else claimed.instead.cost
    at = engine.clock.now()
    record.ended(sql.tx, execution=claimed.execution, step=claimed.name, helped=True, at=at, detail=cost)


def release(engine: Engine, sql: Statements, execution: str, number: int, attempt: int, *, worker: str) -> bool:
    """Give a step back unfinished: a worker that stops in order loses nothing by it."""
    lock(sql, execution)
    if not sql.change(_AGAIN, execution, number, attempt):
        return False
    sql.later(CLOSE_ATTEMPT, "released", engine.now(), None, None, None, execution, number, attempt)
    engine.record(sql, execution, "released", number, attempt, worker)
    return True


def settle(
    engine: Engine,
    sql: Statements,
    execution: str,
    ended: list[Ended],
    *,
    closed: int | None = None,
    told: Sequence[int] = (),
) -> None:
    """Tell the steps that wait for these, and theirs in turn: they become ready, are skipped, or fan out. Those of `told` wait for nothing any more."""
    count, failed = len(ended) if closed is None else closed, 0
    waiting, numbers = list(ended), list(told)
    while waiting or numbers:
        for number in numbers or _told(sql, execution, waiting.pop()):
            row = sql.rows(_ROW, execution, number)[0]
            after, error = _decide(engine, sql, execution, row)
            if error is not None:
                failed += 1
                count += 1 + _cancel_below(engine, sql, execution, after, row[1])[0]
            elif after is not None:
                count += 1
                waiting.append(after)
        numbers = []
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
        _over(engine, sql, execution, all_failed)


def _over(engine: Engine, sql: Statements, execution: str, failed: int) -> None:
    state = "failed" if failed else "done"
    if sql.change(_END, state, engine.now(), execution):
        engine.record(sql, execution, "ended", detail=text_of({"state": state}))


def lock(sql: Statements, execution: str) -> None:
    """Nobody else changes this execution's steps until the transaction ends."""
    if sql.remote:
        sql.later(_LOCK, execution)


def _told(sql: Statements, execution: str, one: Ended) -> list[int]:
    """Count down those who waited for it; the ones that now wait for nothing and are not simply ready."""
    if one.skipped and one.needed_by:
        sql.change(_MISSING, execution, sql.array(one.needed_by))
    return count_down(sql, execution, one.hearing)


def _decide(engine: Engine, sql: Statements, execution: str, row: Any) -> tuple[Ended | None, Failure | None]:
    """What becomes of a step that waits for nothing any more: its end, if it has come, and the failure, if it is one."""
    number, _, kind, bindings, condition, missing, needed, wanted, parent, expanded = row
    ended = Ended(number, _read(needed), _read(wanted), parent)
    if kind == "each" and expanded and not missing:
        return _end(engine, sql, execution, ended, "done", '{"codec":"each","digest":""}'), None
    if missing or (condition is not None and not _holds(engine, sql, execution, condition)):
        why = "an input was skipped" if missing else "its condition is false"
        why = "one of its elements was skipped" if expanded else why
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
        found = classify(failure.raised)
        sql.change(_END_STEP, "failed", None, text_of(StepError.of(failure, found)), engine.now(), execution, number)
        told = {"class": found.class_, "message": failure.message}
        engine.record(sql, execution, "failed", number, detail=text_of(told))
        return ended, failure
    engine.record(sql, execution, "expanded", number, detail=text_of({"count": count}))
    sql.change(_EXPANDED, count, execution, number)
    if count == 0:
        return _end(engine, sql, execution, ended, "done", '{"codec":"each","digest":""}'), None
    sql.change(_ADDED, count, execution)
    return None, None


def _end(engine: Engine, sql: Statements, execution: str, ended: Ended, state: str, result: str | None) -> Ended:
    sql.change(_END_STEP, state, result, None, engine.now(), execution, ended.number)
    return ended


def _holds(engine: Engine, sql: Statements, execution: str, condition: str) -> bool:
    resolved = resolve(sql, execution, {"when": read_binding(condition)})
    return bool(value_of(resolved["when"], None, engine.artifacts))


def fall(engine: Engine, sql: Statements, execution: str, ended: Ended, name: str) -> None:
    """Cancel all that waits for a step that has failed, and count it as ended."""
    below, failed = _cancel_below(engine, sql, execution, ended, name)
    close(engine, sql, execution, 1 + below, 1 + failed)


def _cancel_below(engine: Engine, sql: Statements, execution: str, ended: Ended | None, name: str) -> tuple[int, int]:
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
        waiting += [Ended(number, _read(needed), _read(wanted), parent) for number, needed, wanted, parent in rows]
    return count, failed


def _read(text: str) -> list[int]:
    return [] if text == "[]" else _NUMBERS.decode(text)
