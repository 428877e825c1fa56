"""One turn of the loop for one lane: score, watch, respond. Killed anywhere, it is taken again and comes to the same."""

from dataclasses import dataclass

import msgspec
import polars as pl

from loopline.errors import Frozen
from loopline.incidents.actions import Actions, Outcome, Prepared
from loopline.loop import respond, store
from loopline.loop.decide import follow_declaration
from loopline.loop.decision_watch import watch_decision
from loopline.loop.deployment import Predictors
from loopline.loop.history import History
from loopline.loop.inputs import References, features_that_came, logged_features, watch_inputs
from loopline.loop.lane import Lane
from loopline.loop.measured import measured
from loopline.loop.monitors import watch_further
from loopline.loop.release import lapse
from loopline.loop.resources import Resources
from loopline.loop.respond import Decided
from loopline.loop.restate import restate
from loopline.loop.review import fill_reviews, tell_reviews
from loopline.loop.score import score_due
from loopline.loop.situation import LaneSituation
from loopline.loop.take_in import take_in
from loopline.loop.take_reference import take_reference
from loopline.loop.watch import watch_matured
from loopline.monitoring.alarm import list_alarms
from loopline.storage.database import Transaction
from loopline.values import Window


@dataclass(frozen=True)
class LaneWork:
    """What one lane works with through its turns."""

    resources: Resources
    lane: Lane
    history: History
    predictors: Predictors
    references: References
    actions: Actions


class TurnSummary(msgspec.Struct, frozen=True):
    """What a turn did; deterministic. Durations are kept beside it."""

    number: int
    window: Window
    scored: int
    scores_digest: str | None
    alarms: list[str]
    action: str | None
    outcome: str | None
    changed: bool


def run_turn(
    work: LaneWork, *, number: int, window: Window, due: pl.DataFrame | None, acts: bool = True
) -> TurnSummary:
    """Take turn `number` over `window`. `due` holds the rows to score in batch (None: they are scored on request).

    With `acts=False` it watches and carries out nothing. A turn that was completed before raises nothing and is not
    repeated: its summary is given again.
    """
    before = _completed(work, number)
    if before is not None:
        return before
    seconds: dict[str, float] = {}
    scored = None
    external = work.lane.operation.model.external is not None
    if external:
        with measured(seconds, "score"):
            scored = take_in(work.resources, work.lane)
            take_reference(work.resources, work.lane, work.history, window.end)
    elif due is not None:
        with measured(seconds, "score"):
            scored = score_due(work.resources, work.lane, work.predictors, due, number=number, window=window)
    with measured(seconds, "watch"):
        logged = features_that_came if external else logged_features
        inputs = due if due is not None and not external else logged(work.resources, work.lane, window)
        watch_inputs(work.resources, work.lane, work.references, inputs, window)
        fill_reviews(work.resources, work.lane, window.end)
        tell_reviews(work.resources, work.lane, work.history, window.end)
        restate(work.resources, work.lane, work.history, window)
        watch_matured(work.resources, work.lane, work.history, window.end)
        watch_decision(work.resources, work.lane, work.history, window.end)
        watch_further(work.resources, work.lane, work.history, work.predictors, window.end)
        respond.open_incidents(work.resources, work.lane, work.history, work.references, window)
    if not external:
        follow_declaration(
            work.resources,
            project=work.lane.project,
            model=work.lane.model,
            actor="loop",
            at=window.end,
            replayed=work.lane.replayed,
        )
    with measured(seconds, "respond"):
        situation = LaneSituation(work.resources, work.lane, work.history, work.predictors, window)
        lapse(work.resources, work.lane, window.end)
        decided = respond.decide(work.resources, work.lane, situation) if acts else None
        acting = decided if decided and not decided.waits else None
        prepared = respond.prepare(work.lane, work.actions, acting, situation) if acting else None
    with work.resources.database.transaction() as tx:
        outcome: Outcome | None = None
        if acting and prepared:
            outcome, decided = _conclude(tx, work.lane, acting, prepared, situation)
        if decided and decided.waits:
            respond.hold_back(tx, work.lane)
        summary = TurnSummary(
            number=number,
            window=window,
            scored=scored.rows if scored else 0,
            scores_digest=scored.digest if scored else None,
            alarms=_alarms(tx, work.lane, window),
            action=decided.action if decided else None,
            outcome=outcome.sentence if outcome else (decided.waits if decided else None),
            changed=bool(outcome and outcome.changed),
        )
        _complete(tx, work, summary, seconds | (prepared.seconds if prepared else {}))
    return summary


def _conclude(
    tx: Transaction, lane: Lane, acting: Decided, prepared: Prepared, situation: LaneSituation
) -> tuple[Outcome | None, Decided]:
    """The outcome; or none, where a freeze came while the action was being prepared."""
    try:
        return respond.conclude(tx, lane, acting, prepared, situation), acting
    except Frozen as held:
        return None, msgspec.structs.replace(acting, waits=held.message)


def _completed(work: LaneWork, number: int) -> TurnSummary | None:
    with work.resources.database.reading() as tx:
        row = store.one_turn(tx, work.lane.project, work.lane.model, number)
    return msgspec.convert(row["summary"], TurnSummary) if row else None


def _alarms(tx: Transaction, lane: Lane, window: Window) -> list[str]:
    """Read back, so that a turn that is taken again after its alarms were committed tells of them all the same."""
    return [alarm.id for alarm in list_alarms(tx, lane.project) if alarm.model == lane.model and alarm.at == window.end]


def _complete(tx: Transaction, work: LaneWork, summary: TurnSummary, seconds: dict[str, float]) -> None:
    row = {
        "project": work.lane.project,
        "model": work.lane.model,
        "number": summary.number,
        "window_start": summary.window.start,
        "window_end": summary.window.end,
        "summary": msgspec.to_builtins(summary),
        "measured": {name: round(value, 6) for name, value in seconds.items()},
    }
    store.add_turn(tx, row)
