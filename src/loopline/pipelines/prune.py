"""Executions that ended long ago lose their steps, attempts and events, and results that nobody used since leave the cache.

The execution itself stays: its key says that a window was done, its number counts. Of each pipeline the newest execution that was
done stays whole, for steps that go on with the last good result.
"""

from dataclasses import dataclass
from datetime import datetime

from loopline.errors import Conflict
from loopline.pipelines.advance import lock
from loopline.storage.database import Database
from loopline.storage.statements import Sql, Statements
from loopline.values import micros

_ENDED = (
    "from execution e where e.state <> 'running' and e.ended_at < ? and exists (select 1 from step s where s.execution = e.id)"
    " and not (e.state = 'done' and e.sequence = (select max(l.sequence) from execution l"
    " where l.project = e.project and l.pipeline = e.pipeline and l.state = 'done'))"
)
_OLD = Sql(f"select e.id {_ENDED} order by e.ended_at limit ?")
_COUNT = Sql(f"select count(*) {_ENDED}")
_STILL = Sql("select 1 from execution where id = ? and state <> 'running' and ended_at < ?")
_DROP = tuple(Sql(f"delete from {table} where execution = ?") for table in ("event", "attempt", "step"))
_UNUSED = "from cached where at < ? and key not in (select cached from step where cached is not null{})"
_FORGET = Sql(f"delete {_UNUSED.format('')}")
_FORGOTTEN = Sql(f"select count(*) {_UNUSED.format(f' and execution not in (select e.id {_ENDED})')}")
_KEPT = Sql("select numbers, exists (select 1 from step where execution = id) from execution where id = ?")
_PAGE = 100


@dataclass(frozen=True)
class Pruned:
    """How many executions lost their steps, and how many results left the cache."""

    executions: int
    cached: int


def prune(database: Database, before: datetime, *, dry: bool = False) -> Pruned:
    """Prune what ended, and was last used, before that moment; with `dry` only count. Each execution in a transaction of its own."""
    limit = micros(before)
    if dry:
        with database.reading() as tx:
            sql = Statements.of(tx)
            return Pruned(sql.rows(_COUNT, limit)[0][0], sql.rows(_FORGOTTEN, limit, limit)[0][0])
    pruned = 0
    while found := _old(database, limit):
        pruned += sum(_drop(database, one, limit) for one in found)
    with database.transaction() as tx:
        return Pruned(pruned, Statements.of(tx).change(_FORGET, limit))


def check_kept(sql: Statements, execution: str) -> None:
    """Raise `Conflict` "execution.pruned" for one whose steps are not kept any more."""
    [(steps, kept)] = sql.rows(_KEPT, execution)
    if steps and not kept:
        raise Conflict(
            "execution.pruned",
            f"{execution} ended so long ago that its steps are not kept any more",
            remedy="Run the pipeline again with the same params. LOOPLINE_KEEP_EXECUTIONS says how long steps are kept.",
        )


def _old(database: Database, limit: int) -> list[str]:
    with database.reading() as tx:
        return [row[0] for row in Statements.of(tx).rows(_OLD, limit, _PAGE)]


def _drop(database: Database, execution: str, limit: int) -> int:
    with database.transaction() as tx:
        sql = Statements.of(tx)
        lock(sql, execution)
        if sql.first(_STILL, execution, limit) is None:  # somebody lets it go on just now
            return 0
        for statement in _DROP:
            sql.change(statement, execution)
        return 1
