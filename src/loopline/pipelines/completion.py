"""What ends a step that is done, in as few statements as each database allows: its result, its attempt, its event, the cache, the count of those
who wait for it and of what is open.

Where one step waits for this one alone, and would be the next in the order of claims, it is handed over: claimed in the same breath for the worker
that asks, and never ready for others in between.
"""

from dataclasses import dataclass

from loopline.pipelines import cache
from loopline.pipelines.cache import Parts
from loopline.pipelines.claims import BEGUN, FIRST_READY, OF, Room
from loopline.pipelines.engine import CLAIMED, Claimed, Engine, claimed_from
from loopline.pipelines.graph import text_of
from loopline.storage.statements import Row, Sql, Statements

CLOSE_ATTEMPT = Sql(
    "update attempt set state = ?, ended_at = ?, seconds = ?, log = ?, error = ? where execution = ? and number = ? and attempt = ?"
)
_DONE = (  # an expression, so that PostgreSQL looks for the key and not through the index of all that runs
    "update step set state = 'done', result = ?, cached = ?, reused = ?, instead = ?, worker = null, leased_until = null, error = null,"
    " ended_at = ? where execution = ? and number = ? and attempt = ? and state || '' = 'running'"
)
_DOWN = (
    "update step set waits_for = waits_for - 1, ready_at = {now},"
    " state = case when waits_for = 1 and plain = 1 and missing = 0 then 'ready' else state end where execution = ? and number"
)
_WAITED = "and state = 'waiting'"
_TOLD = "returning number, waits_for, state"
_HAND = (
    "update step set state = 'running', waits_for = 0, ready_at = {now}, attempt = attempt + 1, worker = ?, leased_until = {now} + ?"
    " where execution = ? and number = ? and state = 'waiting' and waits_for = 1 and plain = 1 and missing = 0 and limited is null"
    " and cores <= ? and memory <= ? and coalesce((" + FIRST_READY + ") > rank, true)"
)

# One after the other, as SQLite takes them.
_END = Sql(_DONE)
_COUNT_DOWN = Sql(f"{_DOWN} {{any}} {_WAITED} {_TOLD}")
_COUNT_DOWN_ONE = Sql(f"{_DOWN} = ? {_WAITED} {_TOLD}")
_HAND_OVER = Sql(f"{_HAND.replace('OF', '')} returning {CLAIMED}")
_HAND_OVER_OF = Sql(f"{_HAND.replace('OF', OF)} returning {CLAIMED}")
_COUNT = Sql("update execution set open = open - 1 where id = ? returning open, failed")


def _at_once(hand: str | None) -> Sql:
    """All of it in one statement, as PostgreSQL can: each part takes what the ones before it return, and nothing where the step was not ended."""
    handing = (
        f" handed as ({hand} and exists (select 1 from done) returning {CLAIMED}),"
        " begun as (insert into attempt (execution, number, attempt, worker, state, started_at)"
        " select execution, number, attempt, cast(? as text), 'running', cast(? as bigint) from handed),"
    )
    started = " union all select 1, execution, cast(? as bigint), 'started', number, attempt, cast(? as text), null from handed"
    return Sql(
        f"with done as ({_DONE} returning execution, number, attempt),"
        " closed as (update attempt set state = ?, ended_at = ?, seconds = ?, log = ?, error = null from done where cast(? as boolean)"
        " and attempt.execution = done.execution and attempt.number = done.number and attempt.attempt = done.attempt),"
        " kept as (insert into cached (function, key, parts, result, execution, number, at)"
        " select cast(? as text), cast(? as text), cast(? as text), cast(? as text), execution, number, cast(? as bigint) from done"
        " where cast(? as boolean) on conflict (function, key) do nothing),"
        + (handing if hand else "")
        + f" told as ({_DOWN} {{any}} {_WAITED} and exists (select 1 from done)"
        f"{' and not exists (select 1 from handed)' if hand else ''} {_TOLD}),"
        " said as (insert into event (execution, at, kind, number, attempt, worker, detail)"
        " select execution, at, kind, number, attempt, worker, detail from ("
        "select 0 as place, execution, cast(? as bigint) as at, cast(? as text) as kind, number, attempt, cast(? as text) as worker,"
        f" cast(? as text) as detail from done{started if hand else ''}) as events order by place),"
        " counted as (update execution set open = open - 1 where id = ? and exists (select 1 from done) returning open, failed)"
        " select open, failed, array(select number from told where waits_for = 0 and state = 'waiting' order by number)"
        + (", handed.* from counted left join handed on true" if hand else " from counted")
    )


_ALL = _at_once(None)
_ALL_HAND = _at_once(_HAND.replace("OF", ""))
_ALL_HAND_OF = _at_once(_HAND.replace("OF", OF))


@dataclass(frozen=True)
class Taker:
    """Who would take over the step that waits: a worker, what it has room for, and the one execution that it works for, if it is one."""

    worker: str
    room: Room
    execution: str | None = None


@dataclass(frozen=True)
class Done:
    """A step at its end. `state` is its attempt's, "done" or "reused"; with `parts` the result is kept for others. `hearing` are those who wait for it.

    Without `attempted` the result is none of the attempt's, which has ended already.
    """

    claimed: Claimed
    result: str
    state: str
    at: int
    worker: str
    hearing: list[int]
    seconds: float = 0.0
    log: str | None = None
    detail: str | None = None
    key: str | None = None
    reused: str | None = None
    parts: Parts | None = None
    attempted: bool = True


@dataclass(frozen=True)
class Told:
    """What came of it: how many steps of the execution are open and have failed, those who wait for nothing any more and are not simply ready,
    and the step that was handed over.
    """

    open: int
    failed: int
    waiting: list[int]
    handed: Claimed | None


def write(engine: Engine, sql: Statements, done: Done, taker: Taker | None) -> Told | None:
    """Write the end of a step; None, and nothing changed, where the step is not this attempt's any more.

    With a `taker` the one that waits is handed over to it, if it may be.
    """
    if len(done.hearing) != 1 or done.claimed.parent is not None:
        taker = None
    return (_write_at_once if sql.remote else _write_in_turn)(engine, sql, done, taker)


def count_down(sql: Statements, execution: str, hearing: list[int]) -> list[int]:
    """One step less to wait for; those who now wait for nothing and are not simply ready."""
    if len(hearing) == 1:
        rows = sql.rows(_COUNT_DOWN_ONE, execution, hearing[0])
    else:
        rows = sql.rows(_COUNT_DOWN, execution, sql.array(hearing)) if hearing else []
    return sorted(number for number, left, state in rows if left == 0 and state == "waiting")


def _write_in_turn(engine: Engine, sql: Statements, done: Done, taker: Taker | None) -> Told | None:
    claimed, at = done.claimed, done.at
    execution, key = claimed.execution, (claimed.execution, claimed.number, claimed.attempt)
    if not sql.change(_END, *_ended(done), *key):
        return None
    if done.attempted:
        sql.later(CLOSE_ATTEMPT, done.state, at, done.seconds, done.log, None, *key)
    if done.parts is not None and done.reused is None:
        cache.remember(sql, done.parts, done.result, claimed, at)
    engine.record(sql, execution, done.state, *key[1:], done.worker, done.detail, at=at)
    row = None
    if taker is not None:
        of = () if taker.execution is None else (taker.execution,)
        row = sql.first(_HAND_OVER_OF if of else _HAND_OVER, *_handing(engine, done, taker), *of)
    handed = None if row is None else claimed_from(row)
    waiting = count_down(sql, execution, done.hearing) if handed is None else []
    if handed is not None and taker is not None:
        sql.later(BEGUN, execution, handed.number, handed.attempt, taker.worker, at)
        engine.record(sql, execution, "started", handed.number, handed.attempt, taker.worker, at=at)
    [(open_, failed)] = sql.rows(_COUNT, execution)
    return Told(open_, failed, waiting, handed)


def _write_at_once(engine: Engine, sql: Statements, done: Done, taker: Taker | None) -> Told | None:
    claimed, at, parts = done.claimed, done.at, done.parts
    keeps = parts is not None and done.reused is None
    kept = (parts.function, parts.key, text_of(parts)) if parts is not None and keeps else (None, None, None)
    head = (
        *_ended(done), claimed.execution, claimed.number, claimed.attempt,
        done.state, at, done.seconds, done.log, done.attempted,
        *kept, done.result, at, keeps,
    )  # fmt: skip
    tail = (claimed.execution, sql.array(done.hearing), at, done.state, done.worker, done.detail)
    if taker is None:
        row = sql.first(_ALL, *head, *tail, claimed.execution)
    else:
        of = () if taker.execution is None else (taker.execution,)
        handing = (*_handing(engine, done, taker), *of, taker.worker, at)
        row = sql.first(_ALL_HAND_OF if of else _ALL_HAND, *head, *handing, *tail, at, taker.worker, claimed.execution)
    return None if row is None else Told(row[0], row[1], row[2], _handed(row[3:]))


def _ended(done: Done) -> Row:
    instead = None if done.claimed.instead is None else text_of(done.claimed.instead)
    return done.result, done.key, done.reused, instead, done.at


def _handing(engine: Engine, done: Done, taker: Taker) -> Row:
    room = taker.room
    return taker.worker, engine.lease_ms, done.claimed.execution, done.hearing[0], room.cores, room.memory


def _handed(row: Row) -> Claimed | None:
    return claimed_from(row) if row and row[0] is not None else None
