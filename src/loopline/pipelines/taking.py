"""Taking the next step and committing what came of it: the two moments at which any executor meets the database."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from loopline.pipelines import cache
from loopline.pipelines.advance import Committed, complete
from loopline.pipelines.again import heal
from loopline.pipelines.arguments import resolve
from loopline.pipelines.cache import Parts
from loopline.pipelines.claims import Room, claim
from loopline.pipelines.completion import Taker
from loopline.pipelines.engine import Claimed, Engine, Facts
from loopline.pipelines.failing import fail
from loopline.pipelines.graph import Binding, Constant
from loopline.pipelines.instead import Instead
from loopline.pipelines.perform import Performed
from loopline.storage.statements import Statements

_HITS_AT_ONCE = 100


@dataclass(frozen=True)
class Taken:
    """A claimed step with everything that running it needs. `parts` is what its result is kept by; None where it is not to be kept."""

    claimed: Claimed
    arguments: Mapping[str, Binding]
    facts: Facts
    parts: Parts | None


def take(
    engine: Engine,
    sql: Statements,
    worker: str,
    *,
    room: Room | None = None,
    execution: str | None = None,
    after: Committed | None = None,
) -> tuple[Taken | None, bool]:
    """Claim the next step that has to be run; those whose result is there already are completed on the way. What `after` handed over comes first.

    The second value says whether there may be more although none was taken: a transaction is not to take too many at once.
    """
    taker = Taker(worker, room or Room(), execution)
    for left in reversed(range(_HITS_AT_ONCE)):
        claimed = (after and after.handed) or claim(engine, sql, worker, room=room, execution=execution)
        if claimed is None:
            return None, False
        taken, hit = _prepared(engine, sql, claimed, {} if after is None else after.given)
        if hit is None:
            return taken, False
        heir = taker if left else None  # nobody would run what the last handed over
        parts, reused = taken.parts, hit.execution
        after = complete(engine, sql, claimed, hit.result, worker=worker, parts=parts, reused=reused, taker=heir)
    return None, True


def _prepared(
    engine: Engine, sql: Statements, claimed: Claimed, given: Mapping[int, Binding]
) -> tuple[Taken, cache.Hit | None]:
    """A claimed step with what running it needs, and its result if that is there already. `given` is what steps gave, so far as it is known here."""
    facts, (bindings, mapped) = engine.facts(sql, claimed.execution), engine.bindings(sql, claimed)
    arguments = resolve(sql, claimed.execution, bindings, given) if bindings else {}
    if claimed.instead is not None:
        return _instead(claimed, claimed.instead, arguments, facts), None
    if not claimed.options.reuse:
        return Taken(claimed, arguments, facts, None), None
    parts = cache.parts_of(claimed.function, claimed.code, bindings, arguments, mapped)
    return Taken(claimed, arguments, facts, parts), None if facts.fresh else cache.find(sql, engine.artifacts, parts)


def _instead(claimed: Claimed, instead: Instead, arguments: Mapping[str, Binding], facts: Facts) -> Taken:
    """With what a remedy put in place; what comes of it is not kept for others."""
    given = {**arguments, **{name: Constant(value) for name, value in instead.inputs.items()}}
    return Taken(replace(claimed, function=instead.function or claimed.function), given, facts, None)


def commit(
    engine: Engine,
    sql: Statements,
    taken: Taken,
    performed: Performed,
    *,
    worker: str,
    log: str | None = None,
    taker: Taker | None = None,
) -> Committed | None:
    """Commit what came of an attempt; None where the step is not this attempt's any more, and nothing was changed.

    With a `taker` the step that waits for this one may be handed over to it.
    """
    claimed, seconds = taken.claimed, performed.seconds
    if performed.result is not None:
        parts, result = taken.parts, performed.result
        return complete(engine, sql, claimed, result, worker=worker, seconds=seconds, log=log, parts=parts, taker=taker)
    if performed.failure is None:
        raise AssertionError("an attempt has a result or a failure")
    missing = performed.failure.missing
    ours = bool(missing) and heal(engine, sql, claimed, missing, worker=worker)
    ours = ours or fail(engine, sql, claimed, performed.failure, worker=worker, seconds=seconds, log=log)
    return Committed(claimed) if ours else None
