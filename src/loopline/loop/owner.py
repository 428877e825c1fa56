"""Whose it is: the owner of an incident, and what a loop as applied says of its people."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from loopline.incidents.people import People
from loopline.loop import store
from loopline.loop.lane import Lane
from loopline.monitoring.alarm_kinds import HARM
from loopline.storage.database import Transaction


def owner_of(lane: Lane, kind: str, diagnosis: Sequence[Mapping[str, Any]]) -> str:
    """The model's owner; for a data fault the source's, where all that is broken comes from one owner's sources."""
    if kind == HARM:
        return lane.owner
    owners = {_source_owner(lane, str(fault.get("column", ""))) for fault in diagnosis}
    return (owners.pop() if len(owners) == 1 else "") or lane.owner


def _source_owner(lane: Lane, feature: str) -> str:
    tables = {name: view.table for view in lane.operation.model.views for name in view.features}
    return lane.source_owners.get(tables.get(feature, lane.operation.model.on.table), "")


def declared_people(tx: Transaction, project: str) -> People:
    """The people of the loop as applied; nobody for one that was never applied. Policies of a replay have its people."""
    applied = store.latest_applied(tx, project.split(".", 1)[0])
    said = applied["declaration"].get("people", {}) if applied else {}
    return msgspec.convert(said, People)


def declared_owner(tx: Transaction, project: str, model: str) -> str:
    """The owner of the model as applied: its own, else the loop's; empty where nobody is named."""
    applied = store.latest_applied(tx, project.split(".", 1)[0])
    said = applied["declaration"]["models"].get(model, {}) if applied else {}
    return str(said.get("owner", "")) or declared_people(tx, project).owner
