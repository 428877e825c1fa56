"""Replay: the same turn under a replay clock, several policies over one shared ingestion.

A replay lives in a home of its own. It is resumed by asking for it again; what it had completed stays, and the rest comes out
as if it had never stopped.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from threadpoolctl import threadpool_limits

from loopline.clock import ReplayClock
from loopline.errors import Conflict, InvalidInput
from loopline.incidents.measures import QUARANTINE_SOURCE
from loopline.incidents.playbook import Response
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.declare import Loop, Operation
from loopline.loop.describe import describe
from loopline.loop.due import Due
from loopline.loop.freshness import watch_freshness
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_until
from loopline.loop.logged_costs import require_log
from loopline.loop.measured import measured
from loopline.loop.personal import keep_tags, tags
from loopline.loop.plan import apply
from loopline.loop.resources import Resources
from loopline.loop.turn import LaneWork, TurnSummary, run_turn
from loopline.values import Window, canonical_json, digest, duration

COMPACT_EVERY = 60
PATIENCE = (1.0, 4.0, 15.0)
"""Seconds after which a source that fails is asked again: a year is not to be lost to one bad minute."""


@dataclass(frozen=True)
class Period:
    """From when until when the loop is replayed; both UTC.

    After `until` nothing is scored or done any more, but labels still due are waited for.
    """

    start: datetime
    until: datetime

    def __post_init__(self) -> None:
        Window(self.start, self.until)  # which refuses to hold no time


def windows(loop: Loop, period: Period) -> Iterator[tuple[int, Window, bool]]:
    """Number, window and whether the loop acts, for each turn: through the period, then on until the last labels mature."""
    step = duration(loop.turn)
    patience = max((found.model.label.maturity for found in loop.operations.values()), default=timedelta(0))
    number, start = 0, period.start
    while start < period.until + patience:
        number += 1
        yield number, Window(start, start + step), start < period.until
        start += step


def assumptions(loop: Loop) -> list[str]:
    """What a replay of this loop takes on trust."""
    assumed = [name for name, source in loop.sources.items() if source.known == "assumed"]
    told = [f"times of knowledge are assumed, not measured, for: {', '.join(assumed)}"] if assumed else []
    told += [line for operation in loop.operations.values() for line in _assumed_of_people(operation)]
    told += [
        f"nobody reviews {name}: its labels are those that were told"
        for name, one in loop.operations.items()
        if one.review
    ]
    if any(one.action.name == QUARANTINE_SOURCE for one in _responses(loop)):
        told.append("a source that a playbook quarantines goes on giving: policies share one ingestion")
    free = [name for name, found in loop.operations.items() if not found.model.label.depends_on_action]
    if len(free) < len(loop.operations):
        bound = ", ".join(name for name in loop.operations if name not in free)
        told.append(
            f"what {bound} costs is estimated from the actions that were logged, and their propensities are right"
        )
    if free:
        told.append("decisions do not change outcomes: the label of a row is the same whatever was decided")
    return told


def _responses(loop: Loop) -> list[Response]:
    found = loop.operations.values()
    return [
        one for operation in found for playbook in (operation.respond, *operation.compare.values()) for one in playbook
    ]


def _assumed_of_people(operation: Operation) -> list[str]:
    """Nobody is there to say yes."""
    model, terms = operation.model.name, operation.approve
    told = []
    if terms is not None:
        when = f"{terms.assume} after they are asked for" if duration(terms.assume) else "at once"
        told.append(f"approvals of {model} for {', '.join(terms.environments)} are given {when}")
    by_hand = [place for place in operation.environments[1:] if not operation.needs_approval(place)]
    if by_hand:
        told.append(f"people move versions of {model} on to {', '.join(by_hand)} at once")
    return told


Progress = Callable[[int, int, Window], None]
"""Called after each turn with its number, the number of turns, and its window."""


def replay(
    resources: Resources,
    loop: Loop,
    period: Period,
    make_work: Callable[[History], list[LaneWork]],
    *,
    progress: Progress,
    threads: int = 2,
    seconds: dict[str, float] | None = None,
) -> dict[str, str]:
    """Replay the loop; gives the ledger digest of each project.

    `seconds`, if given, gains what all lanes share: `ingest` and `features`.

    `make_work` makes the lanes' work over a shared history. Raises `Conflict` where this home holds a replay of another
    declaration, period or seed, and `InvalidInput` where the clock is no replay clock or nothing is operated.
    """
    clock = _checked_clock(resources, loop)
    require_log(loop)
    _claim(resources, loop, period)
    turns, spent = list(windows(loop, period)), {} if seconds is None else seconds
    history = History(resources.tables)
    works, due = make_work(history), Due(history)
    done = _turns_done(resources, works)
    # Fits limit their threads each for itself, but of BLAS there is one setting for all: a lane that ends its fit must not
    # raise it under another's.
    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:
        for number, window, acts in turns:
            if number > done:
                clock.turn_to(window.end)
                with resources.activity.shared():
                    _turn_all(resources, loop, works, due, pool, (number, window, acts), period, spent)
            progress(number, len(turns), window)
    clock.turn_to(
        max(clock.now(), turns[-1][1].end)
    )  # one that was finished before is judged by all that is known, too
    return {work.lane.project: _finish(resources, work, period) for work in works}


def _turn_all(
    resources: Resources,
    loop: Loop,
    works: list[LaneWork],
    due: Due,
    pool: ThreadPoolExecutor,
    turn: tuple[int, Window, bool],
    period: Period,
    spent: dict[str, float],
) -> None:
    number, window, acts = turn
    with measured(spent, "ingest"):
        ingest_until(resources, loop, window.end, begin=period.start, waits=PATIENCE)
        watch_freshness(resources, loop, window.end)
    with measured(spent, "features"):
        rows = [due.rows(work.lane, window) if acts and _is_scored(work) else None for work in works]
    tasks = [
        pool.submit(run_turn, work, number=number, window=window, due=found, acts=acts)
        for work, found in zip(works, rows, strict=True)
    ]
    for task in tasks:
        task.result()
    keep_tags(resources.tables, tags(describe(loop)))
    if number % COMPACT_EVERY == 0:
        for name in resources.tables.names():
            resources.tables.open(name).compact()


def _is_scored(work: LaneWork) -> bool:
    """Whether its rows are scored here; what an external model predicted is taken in."""
    return work.lane.operation.model.external is None


def _checked_clock(resources: Resources, loop: Loop) -> ReplayClock:
    if not isinstance(resources.clock, ReplayClock):
        raise InvalidInput("replay.real_clock", "a replay needs a home with a replay clock")
    if not loop.operations:
        raise InvalidInput(
            "replay.nothing_operated",
            f"loop {loop.name!r} operates no model",
            remedy="Call loop.operate(...) in the loop file.",
        )
    return resources.clock


def _claim(resources: Resources, loop: Loop, period: Period) -> None:
    """Note what this home replays, or check that it is the same."""
    plan = {
        "declaration": digest(canonical_json(describe(loop))),
        "start": period.start.isoformat(),
        "until": period.until.isoformat(),
        "seed": resources.seed,
    }
    with resources.database.transaction() as tx:
        before = store.one_replay(tx, loop.name)
        if before is None:
            store.put_replay(tx, loop.name, plan, None)
    if before is not None and before["plan"] != plan:
        changed = sorted(name for name in plan if before["plan"].get(name) != plan[name])
        raise Conflict(
            "replay.other_plan",
            f"this home holds a replay with another {', '.join(changed)}",
            remedy="Start afresh with --fresh, or replay into another --home.",
        )
    # Each time: a process that died at this line before has noted its plan and applied nothing.
    apply(resources.database, loop, actor="replay", at=period.start, accept_breaking=True, replayed=True)


def _turns_done(resources: Resources, works: list[LaneWork]) -> int:
    """How many turns every lane has completed."""
    with resources.database.reading() as tx:
        last = [store.last_turn(tx, work.lane.project, work.lane.model) for work in works]
    return min((row["number"] if row else 0) for row in last)


def _finish(resources: Resources, work: LaneWork, period: Period) -> str:
    """Close the lane's chain with a digest over all of its turns, so that one digest covers predictions and control alike."""
    lane = work.lane
    with resources.database.transaction() as tx:
        summaries = [msgspec.convert(row["summary"], TurnSummary) for row in store.turns(tx, lane.project, lane.model)]
        body: dict[str, Any] = {
            "turns": len(summaries),
            "scored": sum(found.scored for found in summaries),
            "turns_digest": digest(canonical_json(summaries)),
        }
        chain.append(
            tx,
            project=lane.project,
            at=period.until,
            kind="replay.finished",
            actor="replay",
            subject=lane.model,
            body=body,
            key=f"replayed:{lane.model}:{period.until.isoformat()}",
        )
        return chain.head(tx, lane.project).digest
