"""Promotion and rollback: the champion changes, with its evidence and its ledger entry, in one transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from loopline.errors import Conflict, NotFound
from loopline.ledger import chain
from loopline.models import registry
from loopline.storage.database import Transaction, lock

CHAMPION = "champion"
PROMOTION = "promotion"
ROLLBACK = "rollback"


def promote(
    tx: Transaction,
    *,
    project: str,
    model: str,
    version: int,
    actor: str,
    at: datetime,
    evidence: Mapping[str, Any],
    key: str,
    alias: str = CHAMPION,
) -> int | None:
    """Make `version` the champion; gives the version it replaces.

    `evidence` is what the promotion rests on: the gates' verdicts, or who approved. `alias` names the environment's champion
    (see `environment.alias_of`). Idempotent by `key`. Raises `NotFound` for an unknown version, `Conflict` where `key` stands
    for another change.
    """
    registry.get_version(tx, project, model, version)
    lock(tx, CHAMPION, project, model)
    done = _done(tx, PROMOTION, project, model, key)
    if done and done["version"] == version:
        before: int | None = done["replaces"]
        return before
    return _change(tx, PROMOTION, project, model, version, actor, at, evidence, key, alias)


def roll_back(
    tx: Transaction,
    *,
    project: str,
    model: str,
    actor: str,
    at: datetime,
    evidence: Mapping[str, Any],
    key: str,
    to: int | None = None,
    alias: str = CHAMPION,
) -> tuple[int, int]:
    """Bring back the champion before the present one, or version `to`; gives (from, to). Idempotent by `key`.

    The caller smoke-tests the target first. Raises `NotFound` without a champion or one before it, `Conflict` where `to`
    serves already or `key` stands for another change.
    """
    lock(tx, CHAMPION, project, model)
    done = _done(tx, ROLLBACK, project, model, key)
    if done and to in {None, done["version"]}:
        return done["replaces"], done["version"]
    present = registry.alias(tx, project, model, alias)
    if present is None:
        raise NotFound("rollback.no_champion", f"{model} has no champion", remedy="Promote a version first.")
    target = previous_champion(tx, project=project, model=model, alias=alias) if to is None else to
    if target is None:
        raise NotFound(
            "rollback.no_earlier",
            f"{model} version {present} is the first champion",
            remedy="Name the version: `loopline rollback MODEL --to N`.",
        )
    if target == present:
        raise Conflict("rollback.serves_already", f"{model} version {target} is the champion already")
    registry.get_version(tx, project, model, target)
    _change(tx, ROLLBACK, project, model, target, actor, at, evidence, key, alias)
    return present, target


def previous_champion(tx: Transaction, *, project: str, model: str, alias: str = CHAMPION) -> int | None:
    """The version that was champion before the present one and is not the present one."""
    history = registry.alias_history(tx, project, model, alias)
    earlier = [change.version for change in history if change.version not in {None, history[-1].version}]
    return earlier[-1] if earlier else None


def _done(tx: Transaction, kind: str, project: str, model: str, key: str) -> dict[str, Any] | None:
    """What the change under `key` wrote into the ledger, if it was made before: trying again must not change more."""
    entries = chain.entries(tx, project, kind=kind, newest_first=True)
    return next((entry.body for entry in entries if entry.key == key and entry.body["model"] == model), None)


def _change(
    tx: Transaction,
    kind: str,
    project: str,
    model: str,
    version: int,
    actor: str,
    at: datetime,
    evidence: Mapping[str, Any],
    key: str,
    alias: str,
) -> int | None:
    before = registry.set_alias(tx, project=project, model=model, alias=alias, version=version, at=at)
    where = {} if alias == CHAMPION else {"environment": alias}
    body = {"model": model, "version": version, "replaces": before, "evidence": dict(evidence), **where}
    chain.append(tx, project=project, at=at, kind=kind, actor=actor, subject=f"{model}:{version}", body=body, key=key)
    return before
