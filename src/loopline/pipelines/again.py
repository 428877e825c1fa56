"""Going back: steps of an execution that are to run again, and the counts of all that wait for them."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from loopline.errors import Conflict, NotFound
from loopline.pipelines.advance import decide_all, lock
from loopline.pipelines.engine import Claimed, Engine
from loopline.pipelines.executions import check_pinned, state_of
from loopline.pipelines.graph import text_of
from loopline.pipelines.prune import check_kept
from loopline.storage.database import Transaction
from loopline.storage.statements import Sql, Statements

_FENCED = Sql(
    "update step set state = 'waiting', worker = null, leased_until = null"
    " where execution = ? and number = ? and attempt = ? and state = 'running'"
)
_ATTEMPT = Sql("update attempt set state = 'released', ended_at = ? where execution = ? and number = ? and attempt = ?")
_HOLDING = Sql("select number from step where execution = ? and state = 'done' and kind = 'step' and result like ?")
_ALL = Sql(
    "select number, kind, state, plain, needed_by, wanted_by, parent from step where execution = ? order by number"
)
_UNFINISHED = Sql("select number from step where execution = ? and state in ('failed', 'cancelled')")
_RESET = Sql(
    "update step set state = 'waiting', missing = 0, result = null, cached = null, reused = null, error = null, instead = null, failures = 0, losses = 0,"
    " worker = null, leased_until = null, ended_at = null where execution = ? and number {any}"
)
_UNEXPAND = Sql("update step set expanded = 0 where execution = ? and number {any}")
_DROP = Sql("delete from step where execution = ? and parent {any}")
_RECOUNT = Sql("update step set waits_for = ?, missing = ?, state = 'waiting' where execution = ? and number = ?")
_READY = Sql(
    "update step set state = 'ready', ready_at = {now} where execution = ? and number {any} and waits_for = 0 and plain = 1 and missing = 0"
)
_OPEN = Sql(
    "update execution set state = 'running', ended_at = null,"
    " open = (select count(*) from step where execution = ? and state in ('waiting', 'ready', 'running')),"
    " failed = (select count(*) from step where execution = ? and state = 'failed') where id = ?"
)
_NAMED = Sql("select number from step where execution = ? and name = ?")
_CODE = Sql("select code from execution where id = ?")


@dataclass(frozen=True)
class _Link:
    """A step's place in the graph."""

    state: str
    each: bool
    plain: bool
    needed: list[int]
    wanted: list[int]
    parent: int | None

    @property
    def below(self) -> list[int]:
        return self.needed + self.wanted

    @property
    def told(self) -> list[int]:
        return self.below if self.parent is None else [self.parent, *self.below]


_Links = dict[int, _Link]


def resume(
    tx: Transaction, engine: Engine, execution: str, *, step: str | None = None, by: str = "", here: bool = False
) -> int:
    """Let an execution go on: what failed or was cancelled is tried again, what is done stays. How many steps are open then.

    With `step` that one and all below it run again, done or not. `here` says that this process holds the steps' functions. Raises `NotFound` "execution.unknown", "execution.no_step", `Conflict`
    "execution.nothing_open", "execution.pruned" and `InvalidInput` "execution.not_pinned".
    """
    sql = Statements.of(tx)
    lock(sql, execution)
    state = state_of(sql, execution)
    check_kept(sql, execution)
    if not here:
        check_pinned(execution, sql.rows(_CODE, execution)[0][0])
    again = {row[0] for row in sql.rows(_UNFINISHED, execution)}
    links = _links(sql, execution)
    collapsed: set[int] = set()
    if step is not None:
        below, collapsed = _below(links, _number(sql, execution, step))
        again |= below
    elif not again:
        raise Conflict(
            "execution.nothing_open",
            f"the execution {execution} is {state}: nothing of it failed or was cancelled",
            remedy="Give --from STEP to run that step and what follows again, or use `loopline executions rerun`.",
        )
    engine.record(sql, execution, "resumed", detail=text_of({"by": by, "from": step, "steps": len(again)}))
    return _again(engine, sql, execution, again, collapsed, links)


def heal(engine: Engine, sql: Statements, claimed: Claimed, missing: Iterable[str], *, worker: str) -> bool:
    """An input's artifact is gone: the steps that gave it run again, and this one waits for them. False where nobody gave it."""
    lock(sql, claimed.execution)
    givers = {row[0] for one in missing for row in sql.rows(_HOLDING, claimed.execution, f"%{one}%")}
    if not givers or not sql.change(_FENCED, claimed.execution, claimed.number, claimed.attempt):
        return False
    sql.change(_ATTEMPT, engine.now(), claimed.execution, claimed.number, claimed.attempt)
    detail = text_of({"because": "an artifact is gone", "steps": sorted(givers)})
    engine.record(sql, claimed.execution, "healing", claimed.number, claimed.attempt, worker, detail)
    links = _links(sql, claimed.execution)
    groups = {parent for number in givers if (parent := links[number].parent) is not None}
    _again(engine, sql, claimed.execution, givers | groups, set(), links)
    return True


def _again(engine: Engine, sql: Statements, execution: str, again: set[int], collapsed: set[int], links: _Links) -> int:
    """Put these steps back to the beginning, and count anew what everything unfinished waits for. Fan-outs that are `collapsed` lose their
    elements, since their lists will be others.
    """
    left = {number: one for number, one in links.items() if one.parent not in collapsed}
    again &= left.keys()
    sql.change(_RESET, execution, sql.array(sorted(again)))
    if collapsed:
        sql.change(_DROP, execution, sql.array(sorted(collapsed)))
        sql.change(_UNEXPAND, execution, sql.array(sorted(collapsed)))
    open_ = again | {number for number, one in left.items() if one.state in {"waiting", "ready"}}
    waits, missing = _counted(left, open_)
    sql.many(_RECOUNT, [(waits.get(number, 0), int(number in missing), execution, number) for number in sorted(open_)])
    sql.change(_OPEN, execution, execution, execution)
    free = [number for number in sorted(open_) if not waits.get(number, 0)]
    simple = [number for number in free if left[number].plain and number not in missing]
    if simple:
        sql.change(_READY, execution, sql.array(simple))
    decide_all(engine, sql, execution, sorted(set(free) - set(simple)))
    return len(open_)


def _counted(links: _Links, open_: set[int]) -> tuple[dict[int, int], set[int]]:
    """How many unfinished sources each step has, and which lack one that was skipped."""
    waits: dict[int, int] = {}
    missing: set[int] = set()
    for number, one in links.items():
        if number in open_ or one.state == "running":
            for target in one.told:
                waits[target] = waits.get(target, 0) + 1
        elif one.state == "skipped":
            missing.update(one.needed if one.parent is None else [one.parent])
    return waits, missing


def _below(links: _Links, number: int) -> tuple[set[int], set[int]]:
    """The step and all that follows from it; and of these the fan-outs whose lists are made anew."""
    found, collapsed = {number}, {number} if links[number].each else set()
    waiting = [number]
    while waiting:
        one = links[waiting.pop()]
        collapsed |= {target for target in one.below if links[target].each}
        new = set(one.told) - found
        found |= new
        waiting += new
    return found, collapsed


def _links(sql: Statements, execution: str) -> _Links:
    read = msgspec.json.Decoder(list[int]).decode
    return {
        number: _Link(state, kind == "each", bool(plain), read(needed), read(wanted), parent)
        for number, kind, state, plain, needed, wanted, parent in sql.rows(_ALL, execution)
    }


def _number(sql: Statements, execution: str, step: str) -> int:
    row = sql.first(_NAMED, execution, step)
    if row is None:
        raise NotFound(
            "execution.no_step",
            f"{execution} has no step {step!r}",
            remedy="`loopline executions show` lists its steps.",
        )
    return int(row[0])
