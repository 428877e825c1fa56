"""Alarms: what monitoring found, kept until an incident takes it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from loopline.errors import NotFound
from loopline.monitoring import store
from loopline.storage.database import Transaction
from loopline.values import derive_id


class Alarm(msgspec.Struct, frozen=True):
    """One alarm. `kind` is one of `alarm_kinds`, `state` is `"open"` until it is `"taken"`; `page` says whether people are called."""

    id: str
    project: str
    model: str
    monitor: str
    at: datetime
    block_start: datetime
    block_end: datetime
    kind: str
    evidence: dict[str, Any]
    state: str
    page: bool


def sentence_of(evidence: Mapping[str, Any], otherwise: str = "") -> str:
    """What an alarm's evidence says in words: its sentence, or that of each fault."""
    faults = " ".join(str(fault["sentence"]) for fault in evidence.get("faults", []))
    return str(evidence.get("sentence", faults or otherwise))


def new_alarm(
    *,
    project: str,
    model: str,
    monitor: str,
    kind: str,
    at: datetime,
    block_start: datetime,
    block_end: datetime,
    evidence: Mapping[str, Any],
    page: bool,
) -> Alarm:
    """An open alarm whose id follows from project, model, monitor, kind and block: raised twice, it is the same."""
    return Alarm(
        id=derive_id("alarm", 0, project, model, monitor, kind, block_end.isoformat()),
        project=project,
        model=model,
        monitor=monitor,
        at=at,
        block_start=block_start,
        block_end=block_end,
        kind=kind,
        evidence=dict(evidence),
        state="open",
        page=page,
    )


def raise_alarm(tx: Transaction, alarm: Alarm) -> bool:
    """Keep the alarm; says whether it is new."""
    return store.add_alarm(tx, msgspec.structs.asdict(alarm))


def open_alarms(tx: Transaction, project: str) -> list[Alarm]:
    """Alarms that no incident has taken yet, oldest first."""
    return [Alarm(**row) for row in store.read_alarms(tx, project, "open")]


def list_alarms(tx: Transaction, project: str) -> list[Alarm]:
    """Every alarm of the project, oldest first."""
    return [Alarm(**row) for row in store.read_alarms(tx, project, None)]


def read_alarm(tx: Transaction, alarm_id: str) -> Alarm:
    """The alarm of that id. Raises `NotFound`."""
    row = store.read_alarm(tx, alarm_id)
    if row is None:
        raise NotFound("alarm.unknown", f"there is no alarm {alarm_id!r}", alarm=alarm_id)
    return Alarm(**row)


def take_alarm(tx: Transaction, alarm_id: str) -> bool:
    """Mark the alarm as taken; False if it was already. Raises `NotFound` for an id that is none."""
    read_alarm(tx, alarm_id)
    return store.close_alarm(tx, alarm_id)
