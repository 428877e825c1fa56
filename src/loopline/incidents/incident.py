"""Incidents: what alarms have in common, from the first alarm until an action, or a person, ends it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from loopline.errors import Conflict, NotFound
from loopline.incidents import store
from loopline.incidents.outbox import Severity
from loopline.ledger import chain
from loopline.pipelines.schedules import signal
from loopline.storage.database import Transaction, lock
from loopline.values import derive_id

OPEN = ("open", "waiting")


class Incident(msgspec.Struct, frozen=True):
    """One incident. `state`: open (nothing done yet), waiting (the action is cooling down or frozen), resolved.

    What people do about it stands beside: `owner` answers for it, `assignee` works on it; it is acknowledged, or snoozed
    until a time; `level` counts the escalations so far, and the next is due at `escalates_at`, if any. See `attention`.
    """

    id: str
    project: str
    model: str
    kind: str
    state: str
    opened_at: datetime
    closed_at: datetime | None
    sentence: str
    diagnosis: list[dict[str, Any]]
    alarms: list[str]
    severity: Severity = "critical"
    owner: str = ""
    assignee: str | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    snoozed_until: datetime | None = None
    level: int = 0
    escalates_at: datetime | None = None


def open_or_join(
    tx: Transaction,
    *,
    project: str,
    model: str,
    kind: str,
    alarm: str,
    at: datetime,
    sentence: str,
    diagnosis: Sequence[Mapping[str, Any]],
    severity: Severity = "critical",
    owner: str = "",
) -> tuple[Incident, bool]:
    """The open incident of this kind with the alarm joined to it, or a new one. Says whether it is new.

    An alarm that began an incident before does not begin it again, even where that one is resolved.
    """
    lock(tx, "incident", project, model)
    begun = store.one_incident(tx, project, derive_id("inc", 0, project, alarm))
    if begun:
        return Incident(**begun), False
    for row in store.incidents(tx, project, model=model, states=OPEN):
        if row["kind"] == kind:
            joined = row | {"alarms": sorted({*row["alarms"], alarm})}
            store.put_incident(tx, joined)
            return Incident(**joined), False
    made = Incident(
        id=derive_id("inc", 0, project, alarm),
        project=project,
        model=model,
        kind=kind,
        state="open",
        opened_at=at,
        closed_at=None,
        sentence=sentence,
        diagnosis=[dict(part) for part in diagnosis],
        alarms=[alarm],
        severity=severity,
        owner=owner,
    )
    store.put_incident(tx, msgspec.structs.asdict(made))
    _record(tx, made, "incident.opened", "loop", at, {"kind": kind, "sentence": sentence, "diagnosis": made.diagnosis})
    return made, True


def announce(tx: Transaction, found: Incident, at: datetime) -> None:
    """Let pipelines that wait for such an alarm be executed. Once for each incident."""
    subject = {"kind": found.kind, "model": found.model, "incident": found.id}
    signal.announce(tx, project=found.project, kind="alarm", key=found.id, subject=subject, at=at)


def put(tx: Transaction, found: Incident) -> None:
    """Keep it as it is now."""
    store.put_incident(tx, msgspec.structs.asdict(found))


def wait(tx: Transaction, found: Incident) -> None:
    """Note that its action has to wait."""
    lock(tx, "incident", found.project, found.model)
    now = get(tx, found.project, found.id)
    if now.state in OPEN:
        put(tx, msgspec.structs.replace(now, state="waiting"))


def resolve(tx: Transaction, found: Incident, *, at: datetime, actor: str, sentence: str) -> None:
    """End an incident. Raises `Conflict` where it is ended already."""
    lock(tx, "incident", found.project, found.model)
    now = get(tx, found.project, found.id)
    if now.state not in OPEN:
        raise Conflict("incident.closed", f"incident {now.id} was closed at {now.closed_at}")
    put(tx, msgspec.structs.replace(now, state="resolved", closed_at=at, escalates_at=None, snoozed_until=None))
    _record(tx, found, "incident.resolved", actor, at, {"sentence": sentence})


def get(tx: Transaction, project: str, incident_id: str) -> Incident:
    """Raises `NotFound`."""
    row = store.one_incident(tx, project, incident_id)
    if row is None:
        raise NotFound(
            "incident.unknown", f"no incident {incident_id!r} in {project}", remedy="`loopline incidents` lists them."
        )
    return Incident(**row)


def find(tx: Transaction, project: str, *, model: str | None = None, only_open: bool = False) -> list[Incident]:
    """Incidents, oldest first."""
    return [Incident(**row) for row in store.incidents(tx, project, model=model, states=OPEN if only_open else ())]


def _record(tx: Transaction, found: Incident, kind: str, actor: str, at: datetime, body: dict[str, Any]) -> None:
    chain.append(
        tx, project=found.project, at=at, kind=kind, actor=actor, subject=found.id, body=body, key=f"{kind}:{found.id}"
    )
