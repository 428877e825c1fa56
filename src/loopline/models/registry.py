"""Registered models: numbered versions with their lineage, and aliases such as champion and challenger."""

from datetime import datetime
from typing import Any

import msgspec

from loopline.errors import NotFound
from loopline.models import aliases, store
from loopline.models.aliases import AliasChange
from loopline.storage.database import Transaction


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A packaged model under its number.

    `package` and `envelope` are digests of artifacts: the model package, and the signature over it. `lineage` says what it
    was made from (table versions, label window, digest of the definitions, seed); `metrics` are those it was registered
    with, None for a value that is not finite. `cause` is the key that makes registering idempotent.
    """

    project: str
    model: str
    version: int
    package: str
    envelope: str
    run_id: str | None
    lineage: dict[str, Any]
    metrics: dict[str, Any]
    cause: str
    created_at: datetime
    created_by: str


def register_version(
    tx: Transaction,
    *,
    project: str,
    model: str,
    package: str,
    envelope: str,
    run_id: str | None,
    lineage: dict[str, Any],
    metrics: dict[str, float],
    at: datetime,
    cause: str,
    created_by: str,
) -> ModelVersion:
    """Register a package as the model's next version: 1, 2, ...; the model is registered with its first.

    The artifacts must be durable already. A `cause` seen before gives the version that was registered for it, whatever
    else is given: trying again after a crash makes no second version.
    """
    store.ensure_model(tx, project, model, at)
    known = store.by_cause(tx, store.model_version, project, model, cause)
    if known is not None:
        return _version(known)
    values = {
        "project": project,
        "model": model,
        "package": package,
        "envelope": envelope,
        "run_id": run_id,
        "lineage": lineage,
        "metrics": metrics,
        "cause": cause,
        "created_at": at,
        "created_by": created_by,
    }
    return get_version(tx, project, model, store.insert_next(tx, store.model_version, values))


def get_version(tx: Transaction, project: str, model: str, version: int) -> ModelVersion:
    """One version. Raises `NotFound`."""
    row = store.by_version(tx, store.model_version, project, model, version)
    if row is None:
        raise NotFound(
            "model.version_not_found",
            f"{project} has no version {version} of {model}",
            remedy="List what there is with `versions`.",
        )
    return _version(row)


def versions(tx: Transaction, project: str, model: str) -> list[ModelVersion]:
    """All versions of a model, from the first; none for a model nobody registered."""
    return [_version(row) for row in store.versions(tx, store.model_version, project, model)]


def models(tx: Transaction, project: str) -> list[str]:
    """The names of the project's registered models, sorted."""
    return store.models(tx, project)


def projects(tx: Transaction) -> list[str]:
    """The projects that have registered models, sorted: loops, and models that are served from a file."""
    return store.projects(tx)


def set_alias(
    tx: Transaction, *, project: str, model: str, alias: str, version: int | None, at: datetime
) -> int | None:
    """Let `alias` mean `version` from `at` on, or nothing (None); gives the version before.

    Raises `NotFound` for a version that is not registered, and `InvalidInput` for a time before the alias's last change.
    """
    if version is not None:
        get_version(tx, project, model, version)
    return aliases.point(tx, project=project, model=model, target="model", alias=alias, version=version, at=at)


def alias(tx: Transaction, project: str, model: str, alias: str, *, at: datetime | None = None) -> int | None:
    """The version that `alias` means, now or at the moment `at`; None where it means none."""
    return aliases.pointed(tx, project, model, "model", alias, at=at)


def alias_history(tx: Transaction, project: str, model: str, alias: str) -> list[AliasChange]:
    """Every change of `alias`, from the first."""
    return aliases.history(tx, project, model, "model", alias)


def _version(row: Any) -> ModelVersion:
    return ModelVersion(**row)
