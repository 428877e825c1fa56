"""Why a step is as it is: run or reused and on what grounds, skipped, cancelled, or what it waits for."""

from datetime import timedelta

import msgspec

from loopline.errors import NotFound
from loopline.pipelines.arguments import resolve
from loopline.pipelines.cache import parts_of
from loopline.pipelines.engine import MAPPED, Engine
from loopline.pipelines.graph import Binding, read_bindings
from loopline.pipelines.instead import Instead
from loopline.pipelines.nearest import Nearest, nearest, told
from loopline.storage.database import Transaction
from loopline.storage.statements import Row, Sql, Statements
from loopline.values import duration_text

_STEP = Sql(
    "select number, name, kind, state, function, code, bindings, options, parent, reused, error, waits_for, ready_at - {now}, limited, worker,"
    " leased_until - {now}, failures, instead from step where execution = ? and name = ?"
)
_PARENT = Sql("select bindings from step where execution = ? and number = ?")
_SKIPPED = Sql(
    "select detail from event where execution = ? and number = ? and kind = 'skipped' order by id desc limit 1"
)
_LAST = Sql(
    "select detail from event where execution = ? and number = ? and kind in ('retrying', 'set_aside', 'fallen_back') order by id desc limit 1"
)
_STARTED = Sql("select min(started_at) from attempt where execution = ? and number = ?")
_SOURCES = Sql(
    "select name, state, needed_by, wanted_by from step where execution = ? and state not in ('done', 'skipped')"
)
_ROOM = Sql("select count(*) from step where state = 'running' and limited = ?")


class Why(msgspec.Struct, frozen=True):
    """The answer: a sentence, and for a step that was run how it differs from the nearest earlier result."""

    step: str
    state: str
    sentence: str
    nearest: Nearest | None = None


def why(tx: Transaction, engine: Engine, execution: str, step: str) -> Why:
    """Why the step is in its state. Raises `NotFound` "step.not_found"."""
    sql = Statements.of(tx)
    row = sql.first(_STEP, execution, step)
    if row is None:
        raise NotFound(
            "step.not_found", f"{execution} has no step {step!r}", remedy="`loopline executions show` lists its steps."
        )
    state = str(row[3])
    told = {"done": _done, "skipped": _skipped, "waiting": _waiting, "ready": _ready, "running": _running}.get(
        state, _failed
    )
    sentence, near = told(sql, engine, execution, row)
    return Why(step, state, sentence, near)


_Answer = tuple[str, Nearest | None]


def _done(sql: Statements, engine: Engine, execution: str, row: Row) -> _Answer:
    if row[2] == "each":
        return "each of its elements is done", None
    if row[17] is not None:
        return _healed(msgspec.json.decode(row[17], type=Instead)), None
    if row[9] is not None:
        return (
            f"it was not run: {row[9]} had run the same code on the same params and inputs in the same environment",
            None,
        )
    if not msgspec.json.decode(row[7]).get("reuse", True):
        return "it ran because it is declared with reuse=False", None
    [(begun,)] = sql.rows(_STARTED, execution, row[0])
    bindings = _bindings(sql, execution, row)
    mapped = () if row[8] is None else read_bindings(row[6]).keys()
    parts = parts_of(row[4], row[5], bindings, resolve(sql, execution, bindings), mapped)
    near = nearest(sql, engine.artifacts, parts, before=begun or 0)
    return because(near), near


def _healed(instead: Instead) -> str:
    if instead.execution:
        age = duration_text(timedelta(seconds=round(instead.stale_seconds)))
        return f"it failed, and its last good result was taken over from {instead.execution}, {age} old"
    if instead.function:
        return f"it failed, and {instead.function} was called instead"
    kept = ", ".join(f"{name} {bad}" for name, bad in instead.bad.items())
    rows = "one row" if instead.rows == 1 else f"{instead.rows} rows"
    return f"it ran without {rows} that it called wrong, kept as {kept}"


def because(near: Nearest | None) -> str:
    """Why a step runs, given the nearest earlier result."""
    if near is None:
        return "it ran because no result of it was kept"
    if not near.differences:
        return (
            f"it ran although nothing differs from {near.execution}: the result was gone, or a fresh one was asked for"
        )
    return f"it ran because {told(near.differences)} not as in {near.execution}"


def _bindings(sql: Statements, execution: str, row: Row) -> dict[str, Binding]:
    own = read_bindings(row[6])
    if row[8] is None:
        return own
    [(shared,)] = sql.rows(_PARENT, execution, row[8])
    return {**{name: one for name, one in read_bindings(shared).items() if not name.startswith(MAPPED)}, **own}


def _skipped(sql: Statements, _: Engine, execution: str, row: Row) -> _Answer:
    found = sql.first(_SKIPPED, execution, row[0])
    return f"it was skipped: {msgspec.json.decode(found[0])['because'] if found else 'its condition is false'}", None


def _waiting(sql: Statements, _: Engine, execution: str, row: Row) -> _Answer:
    read = msgspec.json.decode
    names = [
        f"{name} ({state})"
        for name, state, needed, wanted in sql.rows(_SOURCES, execution)
        if row[0] in read(needed) + read(wanted)
    ]
    if row[2] == "each" and not names:
        return f"{row[11]} of its elements are not done", None
    return f"it waits for {', '.join(sorted(names))}", None


def _ready(sql: Statements, _: Engine, execution: str, row: Row) -> _Answer:
    if row[16]:
        [(detail,)] = sql.rows(_LAST, execution, row[0])
        tried = msgspec.json.decode(detail).get("sentence", "")
        wait = f" in {row[12] / 1000:.1f} s" if row[12] > 0 else ""
        return f"it failed {row[16]} times and is tried again{wait}: {tried.rstrip('.')}", None
    if row[13] is not None:
        [(running,)] = sql.rows(_ROOM, row[13])
        return f"it is ready, and no worker has taken it; {running} steps run under its limit {row[13]!r}", None
    return "it is ready, and no worker has room for it: start one with `loopline worker`", None


def _running(_: Statements, __: Engine, ___: str, row: Row) -> _Answer:
    left = row[15] / 1000
    return (
        f"{row[14]} runs it; its lease {'ends in' if left > 0 else 'ended'} {abs(left):.0f} s{'' if left > 0 else ' ago'}",
        None,
    )


def _failed(_: Statements, __: Engine, ___: str, row: Row) -> _Answer:
    error = msgspec.json.decode(row[10]) if row[10] else {}
    if "because" in error:
        return f"it was not run, because {error['because']} failed", None
    if not error:
        return "its execution was cancelled", None
    tried = f" - {error['sentence'].rstrip('.')}" if error.get("sentence") else ""
    return f"its attempt failed ({error['error_class']}): {error['message']}{tried}", None
