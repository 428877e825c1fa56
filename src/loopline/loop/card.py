"""The model card: everything that is recorded of a version, gathered; nothing is made up, and what is missing is missing.

Mitchell et al., Model cards for model reporting, 2019.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from loopline.errors import NotFound, Unavailable
from loopline.evaluation.bias import BIAS, BiasReport
from loopline.evaluation.held_out import HELD_OUT, HeldOut
from loopline.gates import approval
from loopline.gates.approval import Approval
from loopline.gates.promotion import CHAMPION
from loopline.incidents import incident
from loopline.incidents.incident import Incident
from loopline.ledger import chain
from loopline.loop.documents import PURPOSE
from loopline.loop.explain import explain_version
from loopline.loop.in_operation import Health, Month, health_of, months_of
from loopline.loop.owner import declared_owner
from loopline.loop.resources import Resources
from loopline.models import registry
from loopline.models.aliases import AliasChange
from loopline.models.explanation import ExplanationSummary
from loopline.models.package import ModelPackage, decode_package
from loopline.storage.database import Transaction

Kept = TypeVar("Kept", bound=msgspec.Struct)


class Change(msgspec.Struct, frozen=True):
    """One entry of the ledger about the version: who did what, when, with the verdicts that it rested on."""

    seq: int
    at: datetime
    kind: str
    actor: str
    cause: str
    verdicts: tuple[str, ...]
    digest: str


class Served(msgspec.Struct, frozen=True):
    """A time in which the version was champion; `until` is None while it is."""

    since: datetime
    until: datetime | None


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a version. `lineage` and `package` are as registered; None stands for what was not measured."""

    project: str
    model: str
    version: int
    purpose: str
    owner: str
    created_at: datetime
    created_by: str
    run_id: str | None
    served: tuple[Served, ...]
    package_digest: str
    package: ModelPackage | None
    lineage: dict[str, Any]
    held_out: HeldOut | None
    watched_loss: str
    months: tuple[Month, ...]
    health: Health | None
    bias: BiasReport | None
    explanation: ExplanationSummary | None
    approvals: tuple[Approval, ...]
    incidents: tuple[Incident, ...]
    changes: tuple[Change, ...]


def card_of(resources: Resources, project: str, model: str, version: int) -> Card:
    """Gather the card. The same state of the home gives an equal card. Raises `NotFound` for an unknown version."""
    with resources.database.reading() as tx:
        found = registry.get_version(tx, project, model, version)
        served = _served(registry.alias_history(tx, project, model, CHAMPION), version)
        loss, months = months_of(tx, project, model, version)
        owner = declared_owner(tx, project, model)
        approvals = [one for one in approval.find(tx, project, model=model) if one.version == version]
        incidents = [one for one in incident.find(tx, project, model=model) if _meanwhile(one, served)]
        changes = _changes(tx, project, f"{model}:{version}")
    lineage = found.lineage
    return Card(
        project=project,
        model=model,
        version=version,
        purpose=str(lineage.get(PURPOSE, "")),
        owner=owner,
        created_at=found.created_at,
        created_by=found.created_by,
        run_id=found.run_id,
        served=served,
        package_digest=found.package,
        package=_package(resources, found.package),
        lineage=lineage,
        held_out=_kept(resources, lineage.get(HELD_OUT), HeldOut),
        watched_loss=loss,
        months=months,
        health=health_of(resources, project, model, version),
        bias=_kept(resources, lineage.get(BIAS), BiasReport),
        explanation=_explanation(resources, project, model, version),
        approvals=tuple(approvals),
        incidents=tuple(incidents),
        changes=changes,
    )


def _served(changes: Sequence[AliasChange], version: int) -> tuple[Served, ...]:
    ends = [*(change.from_at for change in changes[1:]), None]
    return tuple(Served(one.from_at, end) for one, end in zip(changes, ends, strict=False) if one.version == version)


def _meanwhile(found: Incident, served: Sequence[Served]) -> bool:
    """Whether it was opened while the version was champion."""
    return any(one.since <= found.opened_at and (one.until is None or found.opened_at <= one.until) for one in served)


def _changes(tx: Transaction, project: str, subject: str) -> tuple[Change, ...]:
    return tuple(_change(entry) for entry in chain.entries(tx, project, subject=subject))


def _change(entry: chain.Entry) -> Change:
    evidence = entry.body.get("evidence", entry.body)
    told = evidence if isinstance(evidence, dict) else {}
    verdicts = tuple(str(verdict["sentence"]) for verdict in told.get("verdicts", []))
    return Change(entry.seq, entry.at, entry.kind, entry.actor, str(told.get("cause", "")), verdicts, entry.digest)


def _package(resources: Resources, digest: str) -> ModelPackage | None:
    try:
        return decode_package(resources.artifacts.get(digest))
    except NotFound:
        return None


def _kept(resources: Resources, digest: str | None, kind: type[Kept]) -> Kept | None:
    """What an artifact holds; None where there was none, or it was erased."""
    if digest is None or not resources.artifacts.exists(digest):
        return None
    return msgspec.json.decode(resources.artifacts.get(digest), type=kind)


def _explanation(resources: Resources, project: str, model: str, version: int) -> ExplanationSummary | None:
    try:
        return explain_version(resources, project, model, version).summary
    except (NotFound, Unavailable):
        return None
