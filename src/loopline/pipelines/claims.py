"""Claims: which worker may run which step, until when, and what becomes of the steps of a worker that is gone."""

from dataclasses import dataclass

from loopline.pipelines.engine import CLAIMED, Claimed, Engine, claimed_from
from loopline.storage.statements import Sql, Statements

ANY_CORES, ANY_MEMORY = 1e9, 2**62

_READY = "state = 'ready' and ready_at <= {now} and cores <= ? and memory <= ?"
_FIRST = "order by rank, ready_at, execution, number limit 1 {skip_locked}"
_TAKE = (
    "update step set state = 'running', attempt = attempt + 1, worker = ?, leased_until = {now} + ?"
    " where (execution, number) = (select execution, number from step {by} ix_step_ready\n where "
)
_OF = "execution || '' = ?"  # an expression, so that SQLite keeps to the index's order and does not sort all that is ready
_CLAIM = Sql(f"{_TAKE}{_READY} and limited is null {_FIRST}) returning {CLAIMED}, limited")
_CLAIM_OF = Sql(f"{_TAKE}{_READY} and limited is null and {_OF} {_FIRST}) returning {CLAIMED}, limited")
_WITHIN = "(limited is null or limited {any})"
_CLAIM_WITHIN = Sql(f"{_TAKE}{_READY} and {_WITHIN} {_FIRST}) returning {CLAIMED}, limited")
_CLAIM_WITHIN_OF = Sql(f"{_TAKE}{_READY} and {_WITHIN} and {_OF} {_FIRST}) returning {CLAIMED}, limited")
_BEGUN = Sql(
    "insert into attempt (execution, number, attempt, worker, state, started_at) values (?, ?, ?, ?, 'running', ?)"
)
_LIMITS = Sql("select name, concurrency, rate, per, due, {now} from limits order by name {skip_locked}")
_RUNNING = Sql("select limited, count(*) from step where state = 'running' and limited is not null group by limited")
_START = Sql("update limits set due = ? where name = ?")
_BEAT = Sql(
    "update step set leased_until = {now} + ? where worker = ? and state = 'running' returning execution, number, attempt"
)
_MINE = Sql("select execution, number, attempt from step where worker = ? and state = 'running'")
_EXPIRED = Sql("select execution, number, attempt from step where state = 'running' and leased_until < {now} limit 100")
_LONG_READY = Sql(
    "select cores, memory from step {by} ix_step_ready\n where state = 'ready' and ready_at <= {now} - ? and limited is null"
    " order by rank, ready_at, execution, number limit 1"
)
_WAITING = Sql("select min(ready_at) - {now} from step where state = 'ready'")


@dataclass(frozen=True)
class Room:
    """What a worker has left: cores, and bytes of memory."""

    cores: float = ANY_CORES
    memory: int = ANY_MEMORY


Key = tuple[str, int, int]


def claim(
    engine: Engine, sql: Statements, worker: str, *, room: Room | None = None, execution: str | None = None
) -> Claimed | None:
    """Claim the first step that is ready and fits, of any execution or of one; None where there is none."""
    room = room or Room()
    limits = sql.rows(_LIMITS)
    of = () if execution is None else (execution,)
    head = (worker, engine.lease_ms, room.cores, room.memory)
    if limits:
        free = _free(sql, limits)
        row = sql.first(_CLAIM_WITHIN if execution is None else _CLAIM_WITHIN_OF, *head, sql.array(list(free)), *of)
    else:
        row = sql.first(_CLAIM if execution is None else _CLAIM_OF, *head, *of)
    if row is None:
        return None
    if row[-1] is not None:
        _started(sql, next(limit for limit in limits if limit[0] == row[-1]))
    claimed = claimed_from(row[:-1])
    at = engine.now()
    sql.later(_BEGUN, claimed.execution, claimed.number, claimed.attempt, worker, at)
    engine.record(sql, claimed.execution, "started", claimed.number, claimed.attempt, worker, at=at)
    return claimed


def crowded_out(sql: Statements, room: Room, *, memory: int, patience: float) -> bool:
    """Whether the first in the order of claims has been ready for `patience` seconds and fits once others leave, and not now: smaller ones that
    always fit would keep it waiting for ever. `memory` is what there is in all, in bytes; one that asks for all cores and more runs alone.
    """
    first = sql.first(_LONG_READY, round(patience * 1000))
    return first is not None and first[1] <= memory and (first[0] > room.cores or first[1] > room.memory)


def beat(engine: Engine, sql: Statements, worker: str) -> set[Key]:
    """Extend the leases of everything the worker runs; what it still holds, as (execution, number, attempt)."""
    return {(row[0], row[1], row[2]) for row in sql.rows(_BEAT, engine.lease_ms, worker)}


def held(sql: Statements, worker: str) -> set[Key]:
    """What the worker still holds: what is missing was cancelled, or taken by another since its lease ended."""
    return {(row[0], row[1], row[2]) for row in sql.rows(_MINE, worker)}


def expired(sql: Statements) -> list[Key]:
    """Steps whose worker let the lease end."""
    return [(row[0], row[1], row[2]) for row in sql.rows(_EXPIRED)]


def ready_in(sql: Statements) -> float | None:
    """Seconds until the next step is ready, by its back-off; None where none waits for that."""
    row = sql.first(_WAITING)
    return None if row is None or row[0] is None else max(0.0, float(row[0]) / 1000)


def _free(sql: Statements, limits: list[tuple[object, ...]]) -> list[str]:
    """The limits that let another step start. A row that another worker holds just now is passed over for this time."""
    running = {row[0]: row[1] for row in sql.rows(_RUNNING)}
    free: list[str] = []
    for name, concurrency, rate, per, due, now in limits:
        full = concurrency is not None and running.get(name, 0) >= concurrency
        early = rate is not None and due > now + per - per // rate  # type: ignore[operator]
        if not full and not early:
            free.append(str(name))
    return free


def _started(sql: Statements, limit: tuple[object, ...]) -> None:
    """Count a start: `due` is when all starts so far would have happened at an even pace."""
    name, _, rate, per, due, now = limit
    if rate is not None:
        sql.later(_START, max(due, now) + per // rate, name)  # type: ignore[call-overload,operator]
