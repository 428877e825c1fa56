"""Taking the next step and committing what came of it: the two moments at which any executor meets the database."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from loopline.pipelines import cache
from loopline.pipelines.advance import complete, lock
from loopline.pipelines.again import heal
from loopline.pipelines.arguments import resolve
from loopline.pipelines.cache import Parts
from loopline.pipelines.claims import Room, claim
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
    engine: Engine, sql: Statements, worker: str, *, room: Room | None = None, execution: str | None = None
) -> tuple[Taken | None, bool]:
    """Claim the next step that has to be run; those whose result is there already are completed on the way.

    The second value says whether there may be more although none was taken: a transaction is not to take too many at once.
    """
    for _ in range(_HITS_AT_ONCE):
        claimed = claim(engine, sql, worker, room=room, execution=execution)
        if claimed is None:
            return None, False
        facts, (bindings, mapped) = engine.facts(sql, claimed.execution), engine.bindings(sql, claimed)
        arguments = resolve(sql, claimed.execution, bindings) if bindings else {}
        if claimed.instead is not None:
            return _instead(claimed, claimed.instead, arguments, facts), False
        if not claimed.options.reuse:
            return Taken(claimed, arguments, facts, None), False
        parts = cache.parts_of(claimed.function, claimed.code, bindings, arguments, mapped)
        hit = None if facts.fresh else cache.find(sql, engine.artifacts, parts)
        if hit is None:
            return Taken(claimed, arguments, facts, parts), False
        lock(sql, claimed.execution)
        complete(engine, sql, claimed, hit.result, worker=worker, parts=parts, reused=hit.execution)
    return None, True


def _instead(claimed: Claimed, instead: Instead, arguments: Mapping[str, Binding], facts: Facts) -> Taken:
    """With what a remedy put in place; what comes of it is not kept for others."""
    given = {**arguments, **{name: Constant(value) for name, value in instead.inputs.items()}}
    return Taken(replace(claimed, function=instead.function or claimed.function), given, facts, None)


def commit(
    engine: Engine, sql: Statements, taken: Taken, performed: Performed, *, worker: str, log: str | None = None
) -> bool:
    """Commit what came of an attempt; False where the step is not this attempt's any more, and nothing was changed."""
    claimed, seconds = taken.claimed, performed.seconds
    if performed.result is not None:
        return complete(
            engine, sql, claimed, performed.result, worker=worker, seconds=seconds, log=log, parts=taken.parts
        )
    if performed.failure is None:
        raise AssertionError("an attempt has a result or a failure")
    if performed.failure.missing and heal(engine, sql, claimed, performed.failure.missing, worker=worker):
        return True
    return fail(engine, sql, claimed, performed.failure, worker=worker, seconds=seconds, log=log)
