"""Incidents: what alarms have in common, from the first alarm until an action, or a person, ends it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from loopline.errors import Conflict, NotFound
from loopline.incidents import store
from loopline.ledger import chain
from loopline.storage.database import Transaction, lock
from loopline.values import derive_id

OPEN = ("open", "waiting")


class Incident(msgspec.Struct, frozen=True):
    """One incident. `state`: open (nothing done yet), waiting (the action is cooling down or frozen), resolved.
    `told`: people were told, or need not be.
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
    told: bool


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
    pages: bool = True,
) -> tuple[Incident, bool]:
    """The open incident of this kind with the alarm joined to it, or a new one. Says whether it is new.

    A new one that `pages` is to be told to people: see `untold`.

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
        told=not pages,
    )
    store.put_incident(tx, msgspec.structs.asdict(made))
    _record(tx, made, "incident.opened", "loop", at, {"kind": kind, "sentence": sentence, "diagnosis": made.diagnosis})
    return made, True


def untold(tx: Transaction, project: str, model: str) -> list[Incident]:
    """Incidents that people are still to be told of, oldest first."""
    return [Incident(**row) for row in store.untold_incidents(tx, project, model)]


def mark_told(tx: Transaction, found: Incident) -> None:
    """People were told. Telling comes first: who dies in between tells them twice, never not at all."""
    row = store.one_incident(tx, found.project, found.id)
    if row is not None:
        store.put_incident(tx, row | {"told": True})


def wait(tx: Transaction, found: Incident) -> None:
    """Note that its action has to wait."""
    store.put_incident(tx, msgspec.structs.asdict(found) | {"state": "waiting"})


def resolve(tx: Transaction, found: Incident, *, at: datetime, actor: str, sentence: str) -> None:
    """End an incident. Raises `Conflict` where it is ended already."""
    if found.state not in OPEN:
        raise Conflict("incident.closed", f"incident {found.id} was closed at {found.closed_at}")
    store.put_incident(tx, msgspec.structs.asdict(found) | {"state": "resolved", "closed_at": at})
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
