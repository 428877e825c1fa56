"""What a lane serves: from the registry to a deployment, from a deployment to a predictor, to the signed manifest."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from loopline.access import tokens
from loopline.decisions.policy import Decision, fit
from loopline.gates.promotion import CHAMPION, previous_champion
from loopline.incidents.actions import Cause
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.models import decision_versions, registry
from loopline.models.manifest import Deployment, Manifest, PackagedVersion, TokenGrant, read_manifest, write_manifest
from loopline.models.predictor import Predictor, load_predictor
from loopline.storage.database import Transaction


def deployment(tx: Transaction, lane: Lane) -> Deployment:
    """The champion and the decision in force, or, without a champion, the declared fallback as version 0."""
    model = lane.operation.model
    champion = registry.alias(tx, lane.project, lane.model, CHAMPION)
    number, decision = _decision_in_force(tx, lane)
    packaged = _packaged(tx, lane, champion)
    key = model.on.spec.key_columns
    return Deployment(
        endpoint=lane.model,
        model=lane.model,
        version=packaged.version if packaged else 0,
        package=packaged.package if packaged else "",
        package_envelope=packaged.package_envelope if packaged else "",
        decision=msgspec.to_builtins(decision),
        decision_version=number,
        views=[msgspec.to_builtins(view) for view in model.views],
        key=key[0] if len(key) == 1 else "key",
        at=model.at,
        fallback=model.fallback,
        previous=_packaged(tx, lane, previous_champion(tx, project=lane.project, model=lane.model))
        if champion
        else None,
    )


def _decision_in_force(tx: Transaction, lane: Lane) -> tuple[int, Decision]:
    found = decision_versions.current_decision(tx, lane.project, lane.model)
    if found is None:
        return 0, fit(lane.operation.decide, [lane.operation.model.fallback])
    return found.version, msgspec.convert(found.body, Decision)


def _packaged(tx: Transaction, lane: Lane, version: int | None) -> PackagedVersion | None:
    if version is None:
        return None
    found = registry.get_version(tx, lane.project, lane.model, version)
    return PackagedVersion(version=version, package=found.package, package_envelope=found.envelope)


def put_decision(tx: Transaction, lane: Lane, body: dict[str, Any], cause: Cause) -> int:
    """Register a decision and let it decide from `cause.at` on; gives its number."""
    version = decision_versions.register_decision(
        tx,
        project=lane.project,
        model=lane.model,
        body=body,
        at=cause.at,
        cause=cause.key,
        created_by=cause.actor,
    )
    decision_versions.set_current_decision(tx, project=lane.project, model=lane.model, version=version, at=cause.at)
    return version


class Predictors:
    """Loaded predictors by package digest; verified once, then kept."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._kept: dict[str, Predictor] = {}

    def load(self, package: str, envelope: str) -> Predictor:
        """Raises `Corrupt` where digest or signature do not hold, `NotFound` where an artifact is gone."""
        if package not in self._kept:
            artifacts, keys = self._resources.artifacts, self._resources.key.public
            self._kept[package] = load_predictor(artifacts, package, envelope=artifacts.get(envelope), keys=keys)
        return self._kept[package]

    def version(self, tx: Transaction, lane: Lane, version: int) -> Predictor:
        """The predictor of a registered version."""
        found = registry.get_version(tx, lane.project, lane.model, version)
        return self.load(found.package, found.envelope)


def manifest_path(resources: Resources, project: str) -> Path:
    """Where the project's manifest lies."""
    return resources.manifests / f"{project}.json"


def publish(resources: Resources, lanes: Sequence[Lane], *, at: datetime) -> Manifest | None:
    """Write the signed manifest of the lanes' project; nothing is written where it says the same already.

    All lanes are of one project. Gives the manifest if it is new.
    """
    project = lanes[0].project
    with resources.database.reading() as tx:
        deployments = [deployment(tx, lane) for lane in lanes]
        grants = [_grant(grant) for grant in tokens.grants(tx, at)]
    path = manifest_path(resources, project)
    before = read_manifest(path, resources.key.public) if path.exists() else None
    if before and _says(before) == _says_new(deployments, grants):
        return None
    sequence = before.sequence + 1 if before else 1
    made = Manifest(project=project, sequence=sequence, created_at=at, deployments=deployments, tokens=grants)
    write_manifest(path, made, resources.key)
    return made


def _grant(grant: tokens.Grant) -> TokenGrant:
    permissions = [str(permission) for permission in grant.permissions]
    return TokenGrant(
        digest=grant.digest, principal=grant.principal, permissions=permissions, expires_at=grant.expires_at
    )


def _says(manifest: Manifest) -> tuple[Any, ...]:
    return _says_new(manifest.deployments, manifest.tokens)


def _says_new(deployments: list[Deployment], grants: list[TokenGrant]) -> tuple[Any, ...]:
    return msgspec.to_builtins(deployments), msgspec.to_builtins(grants)
