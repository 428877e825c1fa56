"""Claims: which worker may run which step, until when, and what becomes of the steps of a worker that is gone."""

from dataclasses import dataclass

from loopline.pipelines.engine import CLAIMED, Claimed, Engine, claimed_from
from loopline.storage.statements import Row, Sql, Statements

ANY_CORES, ANY_MEMORY = 1e9, 2**62

_DUE = "state = 'ready' and ready_at <= {now}"
_ORDER = "order by rank, ready_at, execution, number limit 1"
OF = "and execution || '' = ?"  # an expression, so that SQLite keeps to the index's order and does not sort all that is ready
FIRST_READY = (
    f"select rank from step {{by}} ix_step_ready\n where {_DUE} OF {_ORDER}"  # `OF` stands for what picks one execution
)

BEGUN = Sql(
    "insert into attempt (execution, number, attempt, worker, state, started_at) values (?, ?, ?, ?, 'running', ?)"
)
_FITS = f"from step {{by}} ix_step_ready\n where {_DUE} and cores <= ? and memory <= ?"
# The first of all, where no limit holds it: then nobody has to look at limits.
_UNLIMITED = f"(select execution, number from (select execution, number, limited {_FITS} OF {_ORDER} {{skip_locked}}) as first where limited is null)"
_WITHIN = f"(select execution, number {_FITS} and (limited is null or limited {{any}}) OF {_ORDER} {{skip_locked}})"


class _Claim:
    """Claims in the words of both databases: of any execution or of one, and on PostgreSQL with the attempt and its event in one statement."""

    def __init__(self, which: str) -> None:
        take = (
            "update step set state = 'running', attempt = attempt + 1, worker = ?, leased_until = {now} + ?"
            f" where (execution, number) = {which} returning {CLAIMED}, limited"
        )
        all_ = (
            f"with taken as ({take}),"
            " begun as (insert into attempt (execution, number, attempt, worker, state, started_at)"
            " select execution, number, attempt, cast(? as text), 'running', cast(? as bigint) from taken),"
            " said as (insert into event (execution, at, kind, number, attempt, worker)"
            " select execution, cast(? as bigint), 'started', number, attempt, cast(? as text) from taken)"
            " select * from taken"
        )
        self.alone = Sql(take.replace("OF", "")), Sql(take.replace("OF", OF))
        self.at_once = Sql(all_.replace("OF", "")), Sql(all_.replace("OF", OF))

    def run(self, engine: Engine, sql: Statements, worker: str, values: Row, execution: str | None) -> Row | None:
        """The columns `CLAIMED` and the name of the limit; the attempt has begun."""
        one, at = execution is not None, engine.now()
        given = (worker, engine.lease_ms, *values, *((execution,) if one else ()))
        if sql.remote:
            return sql.first(self.at_once[one], *given, worker, at, at, worker)
        row = sql.first(self.alone[one], *given)
        if row is not None:
            sql.later(BEGUN, *row[:3], worker, at)
            engine.record(sql, row[0], "started", row[1], row[2], worker, at=at)
        return row


_CLAIM, _CLAIM_WITHIN = _Claim(_UNLIMITED), _Claim(_WITHIN)
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
    fits = room.cores, room.memory
    row = _CLAIM.run(engine, sql, worker, fits, execution)
    if row is not None:
        return claimed_from(row[:-1])
    limits = sql.rows(_LIMITS)
    if not limits and not sql.remote:  # on PostgreSQL another may hold them just now
        return None
    row = _CLAIM_WITHIN.run(engine, sql, worker, (*fits, sql.array(_free(sql, limits))), execution)
    if row is None:
        return None
    if row[-1] is not None:
        _started(sql, next(limit for limit in limits if limit[0] == row[-1]))
    return claimed_from(row[:-1])


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
