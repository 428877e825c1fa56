"""What a lane serves: from the registry to a deployment, from a deployment to a predictor, to the signed manifest."""

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from loopline.access import tokens
from loopline.decisions.policy import Decision, DecisionSpec, fit
from loopline.errors import NotFound
from loopline.features.definitions import View
from loopline.gates.promotion import CHAMPION, previous_champion
from loopline.incidents.actions import Cause
from loopline.loop import store
from loopline.loop.declare import Operation
from loopline.loop.resources import Resources
from loopline.models import decision_versions, registry
from loopline.models.manifest import Deployment, Manifest, PackagedVersion, TokenGrant, read_manifest, write_manifest
from loopline.models.predictor import Predictor, load_predictor
from loopline.storage.database import Transaction


class Terms(msgspec.Struct, frozen=True):
    """What a declaration says of serving a model: the fields of a request that hold key and time, views, fallback, costs."""

    key: str
    at: str
    views: list[dict[str, Any]]
    fallback: float
    decide: DecisionSpec


def terms_of(operation: Operation) -> Terms:
    """The terms in a loop file."""
    model = operation.model
    views = [msgspec.to_builtins(view) for view in model.views]
    return Terms(_key_field(model.on.spec.key_columns), model.at, views, model.fallback, operation.decide)


def declared_terms(tx: Transaction, loop: str) -> dict[str, Terms]:
    """The terms of every operated model of an applied loop, by model: serving needs no loop file.

    Raises `NotFound` for a loop that was never applied.
    """
    applied = store.latest_applied(tx, loop)
    if applied is None:
        raise NotFound(
            "loop.not_applied", f"no loop {loop!r} was applied here", remedy="Run `loopline apply FILE` first."
        )
    said = applied["declaration"]
    return {name: _declared(said, name) for name in said["operations"]}


def _declared(said: dict[str, Any], name: str) -> Terms:
    model = said["models"][name]
    source = said["sources"][model["on"].split(".", 1)[1]]
    decide = msgspec.convert(said["operations"][name]["decide"], DecisionSpec)
    return Terms(_key_field(tuple(source["key"])), model["at"], model["views"], model["fallback"], decide)


def _key_field(columns: tuple[str, ...]) -> str:
    return columns[0] if len(columns) == 1 else "key"


def deployment(tx: Transaction, project: str, model: str, terms: Terms) -> Deployment:
    """The champion and the decision in force, or, without a champion, the declared fallback as version 0."""
    champion = registry.alias(tx, project, model, CHAMPION)
    number, decision = _decision_in_force(tx, project, model, terms)
    packaged = _packaged(tx, project, model, champion)
    earlier = previous_champion(tx, project=project, model=model) if champion else None
    return Deployment(
        endpoint=model,
        model=model,
        version=packaged.version if packaged else 0,
        package=packaged.package if packaged else "",
        package_envelope=packaged.package_envelope if packaged else "",
        decision=msgspec.to_builtins(decision),
        decision_version=number,
        views=_trained_with(tx, project, model, champion) or terms.views,
        key=terms.key,
        at=terms.at,
        fallback=terms.fallback,
        previous=_packaged(tx, project, model, earlier),
    )


def champion_views(tx: Transaction, project: str, model: str) -> list[View]:
    """The feature views that the champion was trained with; none without a champion."""
    champion = registry.alias(tx, project, model, CHAMPION)
    return [msgspec.convert(view, View) for view in _trained_with(tx, project, model, champion)]


def _trained_with(tx: Transaction, project: str, model: str, version: int | None) -> list[dict[str, Any]]:
    """A model is served with the views it was trained with, whatever a newer declaration says."""
    if version is None:
        return []
    views: list[dict[str, Any]] = registry.get_version(tx, project, model, version).lineage.get("views", [])
    return views


def _decision_in_force(tx: Transaction, project: str, model: str, terms: Terms) -> tuple[int, Decision]:
    found = decision_versions.current_decision(tx, project, model)
    if found is None:
        return 0, fit(terms.decide, [terms.fallback])
    return found.version, msgspec.convert(found.body, Decision)


def _packaged(tx: Transaction, project: str, model: str, version: int | None) -> PackagedVersion | None:
    if version is None:
        return None
    found = registry.get_version(tx, project, model, version)
    return PackagedVersion(version=version, package=found.package, package_envelope=found.envelope)


def put_decision(tx: Transaction, project: str, model: str, body: dict[str, Any], cause: Cause) -> int:
    """Register a decision and let it decide from `cause.at` on; gives its number."""
    version = decision_versions.register_decision(
        tx,
        project=project,
        model=model,
        body=body,
        at=cause.at,
        cause=cause.key,
        created_by=cause.actor,
    )
    decision_versions.set_current_decision(tx, project=project, model=model, version=version, at=cause.at)
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

    def version(self, tx: Transaction, project: str, model: str, version: int) -> Predictor:
        """The predictor of a registered version."""
        found = registry.get_version(tx, project, model, version)
        return self.load(found.package, found.envelope)


def manifest_path(resources: Resources, project: str) -> Path:
    """Where the project's manifest lies."""
    return resources.manifests / f"{project}.json"


def publish(resources: Resources, project: str, *, at: datetime) -> Manifest | None:
    """Write the signed manifest of a project as applied; nothing is written where it says the same already.

    Gives the manifest if it is new. Raises `NotFound` for a project whose loop was never applied.
    """
    with resources.database.reading() as tx:
        terms = declared_terms(tx, project.split(".", 1)[0])
        deployments = [deployment(tx, project, model, said) for model, said in terms.items()]
        grants = [_grant(grant) for grant in tokens.grants(tx, at)]
    path = manifest_path(resources, project)
    before = read_manifest(path, resources.key.public) if path.exists() else None
    if before and _says(before.deployments, before.tokens) == _says(deployments, grants):
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


def _says(deployments: list[Deployment], grants: list[TokenGrant]) -> tuple[Any, ...]:
    return msgspec.to_builtins(deployments), msgspec.to_builtins(grants)
