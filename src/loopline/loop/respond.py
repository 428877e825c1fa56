"""Respond: alarms become incidents, people are told, and the playbook's first match is carried out."""

from datetime import datetime
from typing import Any

import msgspec
import structlog

from loopline.errors import Frozen, LooplineError
from loopline.gates.promotion import CHAMPION
from loopline.incidents import attention, incident, measures, store
from loopline.incidents.actions import Actions, Cause, Outcome, Prepared
from loopline.incidents.condition import Situation
from loopline.incidents.freeze import Freeze, frozen
from loopline.incidents.incident import Incident
from loopline.incidents.measures import ENDS
from loopline.incidents.playbook import DRY_RUN, Action, first_match
from loopline.ledger import chain
from loopline.loop import store as loop_store
from loopline.loop.alarms import end_earlier_moves
from loopline.loop.diagnose import diagnose
from loopline.loop.history import History
from loopline.loop.inputs import References
from loopline.loop.lane import Lane
from loopline.loop.lasting import ending
from loopline.loop.owner import owner_of
from loopline.loop.release import PROMOTE, candidate_ready
from loopline.loop.resources import Resources
from loopline.models import registry
from loopline.monitoring.alarm import Alarm, open_alarms, sentence_of, take_alarm
from loopline.monitoring.alarm_kinds import DECISION_HARM, ESTIMATED_HARM, HARM, REGRET, UNFAIR
from loopline.storage.database import Transaction
from loopline.values import Window, duration, micros

log = structlog.get_logger(__name__)

ACTOR = "loop"
RETRAIN = "retrain"
ROLL_BACK_DECISION = "roll_back_decision"
_MEASURES = {*ENDS, *ENDS.values()}
"""They protect people from what is wrong, and end no incident."""
_OF_THE_MODEL = {HARM, DECISION_HARM, ESTIMATED_HARM, REGRET, UNFAIR}


class Decided(msgspec.Struct, frozen=True):
    """The one action of a turn: what and why. `waits` says that it is held back by a cool-down or a freeze, `search` that a
    training searches its parameters anew, `recorded` by what name it is recorded, `terms` what the action asks for, `sums` what figures led to it.
    """

    action: str
    sentence: str
    waits: str = ""
    search: bool = False
    recorded: str = ""
    terms: dict[str, Any] = {}
    sums: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """By which it is recorded."""
        return self.recorded or self.action

    @property
    def dry_run(self) -> bool:
        """Whether it is only told what would have been done."""
        return self.name.startswith(DRY_RUN)


def open_incidents(resources: Resources, lane: Lane, history: History, references: References, window: Window) -> None:
    """Take every open alarm into an incident; who is to be told of it is written in the same transaction."""
    with resources.database.reading() as tx:
        alarms = [alarm for alarm in open_alarms(tx, lane.project) if alarm.model == lane.model]
    causes = {alarm.id: diagnose(resources, lane, history, references, alarm, window.end) for alarm in alarms}
    if alarms:
        with resources.database.transaction() as tx:
            for alarm in alarms:
                _take(tx, lane, alarm, causes[alarm.id], window)


def _take(tx: Transaction, lane: Lane, alarm: Alarm, diagnosis: list[dict[str, Any]], window: Window) -> None:
    take_alarm(tx, alarm.id)
    end_earlier_moves(tx, alarm, at=window.end)
    owner = owner_of(lane, alarm.kind, diagnosis)
    found, new = incident.open_or_join(
        tx,
        project=lane.project,
        model=lane.model,
        kind=alarm.kind,
        alarm=alarm.id,
        at=window.end,
        sentence=sentence_of(alarm.evidence, f"{alarm.kind} on {lane.model}"),
        diagnosis=diagnosis,
        severity="critical" if alarm.kind == HARM else "warning",
        owner=owner,
    )
    if new and not lane.replayed:
        incident.announce(tx, found, window.end)
    # Harm is told to whoever listens. Of a data fault only its owner is told, if it has one: it pages nobody.
    if new and not lane.replayed and (alarm.page or owner):
        attention.tell(tx, found, lane.people, window.end)


def decide(resources: Resources, lane: Lane, situation: Situation) -> Decided | None:
    """What is to be done at the end of this window, if anything."""
    at = situation.window.end
    with resources.database.reading() as tx:
        champion = registry.alias(tx, lane.project, lane.model, CHAMPION)
        stopped = frozen(tx, lane.project)
        since = loop_store.ingested_since(tx, lane.operation.model.on.table)
        ready, asked = candidate_ready(tx, lane, at)
        over = measures.over(tx, lane.project, lane.model)
    approved = Decided(PROMOTE, ready) if ready else None
    if approved is not None and lane.people.held_until(PROMOTE, at) is None:
        wanted: Decided | None = approved
    elif champion is None:
        wanted = approved if asked else _first_model(lane, situation, since)
    elif over is not None:
        wanted = Decided(over.ends_by, ending(over))
    else:
        wanted = _by_playbook(lane, situation) or approved
    held = _held(stopped) if stopped is not None else _calm(lane, wanted, at)
    return msgspec.structs.replace(wanted, waits=held) if wanted is not None and held else wanted


def _calm(lane: Lane, wanted: Decided | None, at: datetime) -> str:
    until = lane.people.held_until(wanted.action, at) if wanted is not None else None
    return f"in a freeze window until {until:%Y-%m-%d %H:%M} UTC" if until else ""


def _held(stopped: Freeze) -> str:
    return f"frozen by {stopped.by}: {stopped.reason}"


def _first_model(lane: Lane, situation: Situation, since: datetime | None) -> Decided | None:
    if lane.operation.model.external is not None:
        return None
    due = since is not None and situation.window.end - since >= duration(lane.operation.first_after)
    if not due or Action(RETRAIN, cooldown=lane.operation.model.holdout).held(situation):
        return None
    return Decided(RETRAIN, f"there is no champion and {lane.operation.first_after} of rows")


def _by_playbook(lane: Lane, situation: Situation) -> Decided | None:
    match = first_match(lane.responses, situation)
    if match is None:
        return None
    action = match.response.action
    terms = action.terms if isinstance(action.terms, dict) else {}
    return Decided(action.name, match.reason, match.waits, action.search is True, action.recorded, terms, match.sums)


def prepare(lane: Lane, actions: Actions, decided: Decided, situation: Situation) -> Prepared:
    """Prepare the action. One that cannot be done is an outcome, not a crash: the next turn must come.

    What a replay comes to must not depend on its executor: it raises that error, and goes on when it is asked again.
    """
    at = situation.window.end
    key = _key(lane, decided.name, situation.window)
    cause = Cause(key=key, sentence=decided.sentence, actor=ACTOR, at=at, search=decided.search, terms=decided.terms)
    if decided.dry_run:
        would = Outcome(changed=False, sentence=f"A dry run: now {decided.action} would have been carried out.")
        return Prepared(lambda _tx: would)
    try:
        return actions.prepare(decided.action, cause)
    except LooplineError as error:
        if lane.replayed and error.code.startswith("executor."):
            raise
        log.warning("action_failed", action=decided.action, project=lane.project, error=str(error))
        failed = Outcome(
            changed=False, sentence=f"{decided.action} failed: {error.message}", evidence={"code": error.code}
        )
        return Prepared(lambda _tx: failed)


def conclude(tx: Transaction, lane: Lane, decided: Decided, prepared: Prepared, situation: Situation) -> Outcome:
    """Commit the action, the record of it, and the end of the incidents that it answers. In the caller's transaction.

    Raises `Frozen`, before anything is written, where the project was frozen while the action was being prepared.
    """
    stopped = frozen(tx, lane.project)
    if stopped is not None:
        raise Frozen("action.frozen", _held(stopped), remedy="`loopline unfreeze` lets the loop act again.")
    at, key = situation.window.end, _key(lane, decided.name, situation.window)
    outcome = prepared.commit(tx)
    incidents = [one for one in _harms(tx, lane) if decided.action != ROLL_BACK_DECISION or one.kind == DECISION_HARM]
    if outcome.changed and decided.action not in _MEASURES:
        for found in incidents:
            incident.resolve(tx, found, at=at, actor=ACTOR, sentence=outcome.sentence)
    row = {
        "project": lane.project,
        "key": key,
        "model": lane.model,
        "action": decided.name,
        "at": at,
        "actor": ACTOR,
        "incident": incidents[0].id if incidents else None,
        "changed": outcome.changed,
        "sentence": outcome.sentence,
        "evidence": outcome.evidence,
    }
    store.add_action(tx, row)
    body = {"action": decided.name, "why": decided.sentence, "changed": outcome.changed, "outcome": outcome.sentence}
    body |= {"sums": decided.sums} if decided.sums else {}
    chain.append(
        tx,
        project=lane.project,
        at=at,
        kind="action",
        actor=ACTOR,
        subject=lane.model,
        body=body,
        key=f"action:{key}",
        measured=prepared.seconds,
    )
    return outcome


def hold_back(tx: Transaction, lane: Lane) -> None:
    """Mark the lane's open incidents as waiting."""
    for found in _harms(tx, lane):
        incident.wait(tx, found)


def _harms(tx: Transaction, lane: Lane) -> list[Incident]:
    return [
        one for one in incident.find(tx, lane.project, model=lane.model, only_open=True) if one.kind in _OF_THE_MODEL
    ]


def _key(lane: Lane, action: str, window: Window) -> str:
    return f"{lane.model}:{action}:{micros(window.end)}"
