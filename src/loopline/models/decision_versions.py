"""A model's decision as a versioned object of its own: changed, rolled back and monitored apart from the model."""

from datetime import datetime
from typing import Any

import msgspec

from loopline.errors import NotFound
from loopline.models import aliases, store
from loopline.models.aliases import AliasChange
from loopline.storage.database import Transaction

CURRENT = "current"


class DecisionVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of a decision under its number; `cause` is the key that makes registering idempotent.

    `evidence` says what it was fitted from, for which champion and why, and what it was expected to cost.
    """

    project: str
    model: str
    version: int
    body: dict[str, Any]
    evidence: dict[str, Any]
    cause: str
    created_at: datetime
    created_by: str


def register_decision(
    tx: Transaction,
    *,
    project: str,
    model: str,
    body: dict[str, Any],
    evidence: dict[str, Any] | None = None,
    at: datetime,
    cause: str,
    created_by: str,
) -> int:
    """Register a decision as the model's next: 1, 2, ...; a `cause` seen before gives the number it gave then.

    It decides nothing until `set_current_decision`.
    """
    store.ensure_model(tx, project, model, at)
    known = store.by_cause(tx, store.decision_version, project, model, cause)
    if known is not None:
        return int(known["version"])
    values = {
        "project": project,
        "model": model,
        "body": body,
        "evidence": evidence or {},
        "cause": cause,
        "created_at": at,
        "created_by": created_by,
    }
    return store.insert_next(tx, store.decision_version, values)


def get_decision(tx: Transaction, project: str, model: str, version: int) -> DecisionVersion:
    """One decision version. Raises `NotFound`."""
    row = store.by_version(tx, store.decision_version, project, model, version)
    if row is None:
        raise NotFound(
            "model.decision_not_found",
            f"{project} has no decision {version} for {model}",
            remedy="List what there is with `decisions`.",
        )
    return DecisionVersion(**row)


def decisions(tx: Transaction, project: str, model: str) -> list[DecisionVersion]:
    """All decision versions of a model, from the first."""
    return [DecisionVersion(**row) for row in store.versions(tx, store.decision_version, project, model)]


def set_current_decision(
    tx: Transaction, *, project: str, model: str, version: int, at: datetime, alias: str = CURRENT
) -> int | None:
    """Let `version` decide from `at` on; gives the version before. An environment before production has an `alias` of its own.

    Raises `NotFound`, and `InvalidInput` for a time before the last change.
    """
    get_decision(tx, project, model, version)
    return aliases.point(tx, project=project, model=model, target="decision", alias=alias, version=version, at=at)


def current_decision(
    tx: Transaction, project: str, model: str, *, at: datetime | None = None, alias: str = CURRENT
) -> DecisionVersion | None:
    """The decision in force, now or at the moment `at`; None before the first."""
    version = aliases.pointed(tx, project, model, "decision", alias, at=at)
    return None if version is None else get_decision(tx, project, model, version)


def previous_decision(tx: Transaction, project: str, model: str) -> int | None:
    """The decision that was in force before the present one and is not the present one."""
    changes = decision_history(tx, project, model)
    earlier = [change.version for change in changes if change.version not in {None, changes[-1].version}]
    return earlier[-1] if earlier else None


def decision_history(tx: Transaction, project: str, model: str, *, alias: str = CURRENT) -> list[AliasChange]:
    """Every change of what decides, from the first."""
    return aliases.history(tx, project, model, "decision", alias)
