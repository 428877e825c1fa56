"""What people do about an incident: acknowledge, snooze, assign, escalate, comment. And what time does, if they do not.

Unacknowledged, it escalates to one addressee after the other. Acknowledging ends that. Snoozing acknowledges for a while:
when its time is over, and the incident is not, it is told again and escalates anew. A resolved incident takes comments only.
Every step has its ledger entry, in the caller's transaction.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from loopline.errors import Conflict, InvalidInput
from loopline.incidents import outbox
from loopline.incidents.calendar import first_covering
from loopline.incidents.incident import OPEN, Incident, find, get, put
from loopline.incidents.outbox import Notification
from loopline.incidents.people import People, check_name
from loopline.ledger import chain
from loopline.storage.database import Transaction, lock
from loopline.values import duration, utc

LONGEST_SNOOZE = timedelta(days=31)
LOOP = "loop"


def tell(tx: Transaction, found: Incident, people: People, at: datetime) -> None:
    """Tell of a new incident, and let it escalate if nobody acknowledges."""
    told = _notify(tx, found, people, found.owner, "incident.opened", at)
    if people.escalate:
        put(tx, msgspec.structs.replace(found, escalates_at=told.due_at + duration(people.escalate_after)))


def acknowledge(tx: Transaction, project: str, incident_id: str, *, by: str, reason: str, at: datetime) -> Incident:
    """Someone looks after it: it escalates no more. Doing so again changes nothing.

    Raises `NotFound`, and `Conflict` where it is resolved or another person acknowledged it.
    """
    found = _open(tx, project, incident_id)
    if found.acknowledged_by == by and found.snoozed_until is None:
        return found
    if found.acknowledged_by not in {None, by}:
        raise Conflict(
            "incident.acknowledged",
            f"{found.acknowledged_by} acknowledged incident {found.id}",
            remedy="Assign it to yourself instead, or comment on it.",
        )
    taken = {"acknowledged_by": by, "acknowledged_at": utc(at), "snoozed_until": None, "escalates_at": None}
    return _change(tx, found, "incident.acknowledged", by, at, {"sentence": reason}, taken)


def snooze(
    tx: Transaction, project: str, incident_id: str, *, until: datetime, by: str, reason: str, at: datetime
) -> Incident:
    """Let it rest until a time; it is acknowledged till then.

    Raises `NotFound`, `Conflict` where it is resolved, and `InvalidInput` for a time that is past or more than a month ahead.
    """
    found = _open(tx, project, incident_id)
    if until.tzinfo is None or not at < until <= at + LONGEST_SNOOZE:
        raise InvalidInput(
            "incident.snooze_time",
            f"{until.isoformat()} is not within {LONGEST_SNOOZE.days} days from {at.isoformat()}",
            remedy="Give a time ahead with its zone, such as 2h or tomorrow's date in UTC.",
        )
    body = {"sentence": reason, "until": utc(until)}
    rest = {"acknowledged_by": by, "acknowledged_at": utc(at), "snoozed_until": utc(until), "escalates_at": None}
    return _change(tx, found, "incident.snoozed", by, at, body, rest)


def assign(
    tx: Transaction, project: str, incident_id: str, *, to: str, people: People, by: str, reason: str, at: datetime
) -> Incident:
    """Give it to someone, who is told. Raises `NotFound`, `Conflict` where it is resolved, `InvalidInput` for no name."""
    found = _open(tx, project, incident_id)
    if found.assignee == check_name(to):
        return found
    changed = _change(tx, found, "incident.assigned", by, at, {"to": to, "sentence": reason}, {"assignee": to})
    _notify(tx, changed, people, to, "incident.assigned", at)
    return changed


def escalate(
    tx: Transaction, project: str, incident_id: str, *, people: People, by: str, reason: str, at: datetime
) -> Incident:
    """Tell the next addressee now, and put it to them unacknowledged.

    Raises `NotFound`, and `Conflict` where it is resolved or there is nobody left to tell.
    """
    found = _open(tx, project, incident_id)
    if found.level >= len(people.escalate):
        raise Conflict(
            "incident.nobody_next",
            f"incident {found.id} is with the last of {len(people.escalate)} addressees",
            remedy="Assign it to someone, or declare more with Loop(escalate=[...]).",
        )
    open_again = {"acknowledged_by": None, "acknowledged_at": None, "snoozed_until": None}
    return _escalate(tx, found, people, by=by, reason=reason, at=at, also=open_again)


def comment(tx: Transaction, project: str, incident_id: str, *, by: str, text: str, at: datetime) -> Incident:
    """Say something about it, also afterwards; it stands in the ledger. Raises `NotFound`."""
    found = _held(tx, project, incident_id)
    _record(tx, found, "incident.comment", by, at, {"sentence": text})
    return found


def comments(tx: Transaction, found: Incident) -> list[chain.Entry]:
    """What was said and done about it, oldest first."""
    return [one for one in chain.entries(tx, found.project, subject=found.id) if one.kind.startswith("incident.")]


def due(tx: Transaction, project: str, at: datetime) -> bool:
    """Whether `attend` has something to look at."""
    return any(_is_due(found, at) for found in find(tx, project, only_open=True))


def attend(tx: Transaction, project: str, people: People, at: datetime) -> list[Incident]:
    """Do what time has made due: end snoozes, escalate what nobody acknowledged. Gives the incidents that changed."""
    changed = []
    for seen in find(tx, project, only_open=True):
        if not _is_due(seen, at):
            continue
        found = _held(tx, project, seen.id)
        if found.state not in OPEN or not _is_due(found, at):  # someone was faster
            continue
        if found.snoozed_until is not None:
            changed.append(_wake(tx, found, people, at))
        elif _may_disturb(found, people, at):
            told = f"nobody acknowledged it within {people.escalate_after}"
            changed.append(_escalate(tx, found, people, by=LOOP, reason=told, at=at))
    return changed


def _is_due(found: Incident, at: datetime) -> bool:
    return any(moment is not None and moment <= at for moment in (found.snoozed_until, found.escalates_at))


def _may_disturb(found: Incident, people: People, at: datetime) -> bool:
    return found.severity == "critical" or first_covering(people.quiet, at) is None


def _wake(tx: Transaction, found: Incident, people: People, at: datetime) -> Incident:
    body = {"sentence": f"snoozed by {found.acknowledged_by}, and not over"}
    anew = {"acknowledged_by": None, "acknowledged_at": None, "snoozed_until": None, "level": 0, "escalates_at": None}
    changed = _change(tx, found, "incident.woken", LOOP, at, body, anew)
    tell_to = changed.assignee or changed.owner
    told = _notify(tx, changed, people, tell_to, "incident.woken", at)
    if not people.escalate:
        return changed
    changed = msgspec.structs.replace(changed, escalates_at=told.due_at + duration(people.escalate_after))
    put(tx, changed)
    return changed


def _escalate(
    tx: Transaction,
    found: Incident,
    people: People,
    *,
    by: str,
    reason: str,
    at: datetime,
    also: dict[str, Any] | None = None,
) -> Incident:
    if found.level >= len(people.escalate):  # the declaration has fewer addressees now
        changed = msgspec.structs.replace(found, escalates_at=None)
        put(tx, changed)
        return changed
    to, level = people.escalate[found.level], found.level + 1
    further = utc(at) + duration(people.escalate_after) if level < len(people.escalate) else None
    values = {**(also or {}), "level": level, "escalates_at": further}
    changed = _change(tx, found, "incident.escalated", by, at, {"to": to, "sentence": reason}, values)
    _notify(tx, changed, people, to, "incident.escalated", at)
    return changed


def _notify(tx: Transaction, found: Incident, people: People, to: str, event: str, at: datetime) -> Notification:
    message = {
        "event": event,
        "model": found.model,
        "incident": found.id,
        "kind": found.kind,
        "at": found.opened_at.isoformat(),
        "text": found.sentence,
        "causes": _causes(found.diagnosis),
    }
    number = chain.head(tx, found.project).seq
    key = f"{event}:{found.id}:{number}"
    return outbox.put(
        tx, project=found.project, key=key, to=to, severity=found.severity, message=message, at=at, quiet=people.quiet
    )


def _causes(diagnosis: Iterable[dict[str, Any]]) -> Sequence[str]:
    return [str(cause["sentence"]) for cause in diagnosis if "sentence" in cause]


def _held(tx: Transaction, project: str, incident_id: str) -> Incident:
    """As it is, with nobody else at it until the transaction ends."""
    found = get(tx, project, incident_id)
    lock(tx, "incident", project, found.model)
    return get(tx, project, incident_id)


def _open(tx: Transaction, project: str, incident_id: str) -> Incident:
    found = _held(tx, project, incident_id)
    if found.state not in OPEN:
        raise Conflict(
            "incident.over",
            f"incident {found.id} was resolved at {found.closed_at}",
            remedy="Comment on it; a new alarm opens a new incident.",
        )
    return found


def _change(
    tx: Transaction, found: Incident, kind: str, by: str, at: datetime, body: dict[str, Any], values: dict[str, Any]
) -> Incident:
    changed = msgspec.structs.replace(found, **values)
    if changed != found:  # the same said twice is said once
        put(tx, changed)
        _record(tx, found, kind, by, at, body)
    return changed


def _record(tx: Transaction, found: Incident, kind: str, by: str, at: datetime, body: dict[str, Any]) -> None:
    number = chain.head(tx, found.project).seq + 1
    chain.append(
        tx,
        project=found.project,
        at=at,
        kind=kind,
        actor=by,
        subject=found.id,
        body=body,
        key=f"{kind}:{found.id}:{number}",
    )
