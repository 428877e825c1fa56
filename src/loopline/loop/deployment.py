"""What a lane serves: from the registry to a deployment, from a deployment to a predictor, to the signed manifest."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from loopline.access import tokens
from loopline.decisions.decision import AnyDecision, AnySpec, decode_decision, fit_decision
from loopline.decisions.exploration import Exploration
from loopline.errors import NotFound
from loopline.evaluation.kind import BINARY, Output
from loopline.features.definitions import View
from loopline.gates.environment import ONLY_PRODUCTION, alias_of, endpoint_of
from loopline.gates.promotion import CHAMPION, previous_champion
from loopline.incidents.actions import Cause
from loopline.incidents.freeze import frozen
from loopline.incidents.measures import SERVE_FALLBACK, measure
from loopline.loop import store
from loopline.loop.declare import Operation
from loopline.loop.resources import Resources
from loopline.loop.variants import beside, joined_views, manifest_variants, packaged, trained_views
from loopline.models import decision_versions, registry
from loopline.models.contract_terms import FLAGGED, ContractTerms
from loopline.models.ladder_terms import DEFAULT_LADDER, LadderTerms
from loopline.models.manifest import Deployment, Manifest, TokenGrant, read_manifest, write_manifest
from loopline.models.predictor import Predictor, load_predictor
from loopline.models.rule import Rule
from loopline.storage.database import Transaction


class Terms(msgspec.Struct, frozen=True):
    """What a declaration says of serving a model: its output, the fields of a request that hold key, time, group, target and
    what names the label, views, fallback, costs, the environments it serves in, and what is done when something is odd or fails.
    """

    key: str
    at: str
    views: list[dict[str, Any]]
    fallback: float | tuple[float, ...]
    decide: AnySpec
    output: Output = BINARY
    group: str | None = None
    target: str | None = None
    label_by: tuple[str, ...] = ()
    environments: tuple[str, ...] = ONLY_PRODUCTION
    explore: Exploration | None = None
    contract: ContractTerms = FLAGGED
    ladder: LadderTerms = DEFAULT_LADDER
    rule: Rule | None = None
    external: bool = False


def terms_of(operation: Operation) -> Terms:
    """The terms in a loop file."""
    model = operation.model
    views = [msgspec.to_builtins(view) for view in model.views]
    return Terms(
        _key_field(model.on.spec.key_columns),
        model.at,
        views,
        model.fallback,
        operation.decide,
        model.output,
        model.group,
        model.target,
        model.label.by,
        operation.environments,
        operation.explore,
        operation.contract,
        operation.ladder,
        model.rule,
        model.external is not None,
    )


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


def served_elsewhere(tx: Transaction, project: str) -> set[str]:
    """The models of the applied loop that something else serves."""
    applied = store.latest_applied(tx, project.split(".", 1)[0])
    models = applied["declaration"]["models"] if applied else {}
    return {name for name, said in models.items() if "external" in said}


def declared_costs(tx: Transaction, project: str, model: str) -> AnySpec | None:
    """The costs that the applied loop declares for a model; None where no loop was applied that operates it."""
    applied = store.latest_applied(tx, project.split(".", 1)[0])
    if applied is None or model not in applied["declaration"]["operations"]:
        return None
    found: AnySpec = msgspec.convert(applied["declaration"]["operations"][model]["decide"], AnySpec)
    return found


def declared_output(tx: Transaction, project: str, model: str) -> Output:
    """What the applied loop declares that a model gives back."""
    applied = store.latest_applied(tx, project.split(".", 1)[0])
    said = {} if applied is None else applied["declaration"]["models"].get(model, {})
    return msgspec.convert(said.get("output", {}), Output)


def _declared(said: dict[str, Any], name: str) -> Terms:
    model = said["models"][name]
    source = said["sources"][model["on"].split(".", 1)[1]]
    operation = said["operations"][name]
    rest = {
        "key": _key_field(tuple(source["key"])),
        "at": model["at"],
        "views": model["views"],
        "fallback": model["fallback"],
        "decide": operation["decide"],
        "output": model.get("output", {}),
        "group": model.get("group"),
        "target": model.get("target"),
        "label_by": model["label"].get("by", []),
        "environments": operation.get("environments", ONLY_PRODUCTION),
        "explore": operation.get("explore"),
        "contract": operation.get("contract", {}),
        "ladder": operation.get("ladder", {}),
        "rule": model.get("rule"),
        "external": "external" in model,
    }
    return msgspec.convert(rest, Terms)


def _key_field(columns: tuple[str, ...]) -> str:
    return columns[0] if len(columns) == 1 else "key"


def deployment(tx: Transaction, project: str, model: str, terms: Terms, environment: str | None = None) -> Deployment:
    """The environment's champion and the decision in force there, or, without a champion or while it rests, the declared fallback as version 0.

    Without `environment` production's. What serves elsewhere is a model of its own name to all that comes after: its
    predictions lie in a table of their own, and nothing learns from them or is judged by them.
    """
    place = environment or terms.environments[-1]
    alias, endpoint = alias_of(terms.environments, place), endpoint_of(model, terms.environments, place)
    champion = registry.alias(tx, project, model, alias)
    if alias == CHAMPION and resting(tx, project, model):
        champion = None
    number, decision = _decision_in_force(tx, project, model, terms, alias)
    champions = packaged(tx, project, model, champion)
    found = beside(tx, project, model, place, champion)
    earlier = previous_champion(tx, project=project, model=model, alias=alias) if champion else None
    return Deployment(
        endpoint=endpoint,
        model=endpoint,
        version=champions.version if champions else 0,
        package=champions.package if champions else "",
        package_envelope=champions.package_envelope if champions else "",
        decision=msgspec.to_builtins(decision),
        decision_version=number,
        views=joined_views(tx, project, model, trained_views(tx, project, model, champion) or terms.views, found),
        key=terms.key,
        at=terms.at,
        fallback=terms.fallback,
        output=terms.output,
        group=terms.group,
        target=terms.target,
        label_by=terms.label_by,
        previous=packaged(tx, project, model, earlier),
        background=champions.background if champions else "",
        explore=terms.explore if alias == CHAMPION and frozen(tx, project) is None else None,
        contract=terms.contract,
        ladder=terms.ladder,
        rule=terms.rule,
        variants=manifest_variants(tx, found),
    )


def resting(tx: Transaction, project: str, model: str) -> bool:
    """Whether the fallback answers in production, by the playbook, in place of the champion. A champion that came since ended that."""
    found = measure(tx, project, model, SERVE_FALLBACK)
    changes = registry.alias_history(tx, project, model, CHAMPION) if found else []
    return found is not None and not any(change.from_at > found.since for change in changes)


def champion_views(
    tx: Transaction, project: str, model: str, environments: Sequence[str] = ONLY_PRODUCTION
) -> list[View]:
    """The feature views that the environments' champions were trained with, and what runs beside them; none without a champion."""
    found: list[dict[str, Any]] = []
    for place in environments:
        champion = registry.alias(tx, project, model, alias_of(environments, place))
        views = trained_views(tx, project, model, champion)
        found += joined_views(tx, project, model, views, beside(tx, project, model, place, champion))
    return [msgspec.convert(view, View) for place, view in enumerate(found) if view not in found[:place]]


def _decision_in_force(tx: Transaction, project: str, model: str, terms: Terms, alias: str) -> tuple[int, AnyDecision]:
    found = decision_versions.current_decision(tx, project, model, alias=decision_alias(alias))
    if found is None:
        output = terms.output
        return 0, fit_decision(terms.decide, [terms.fallback], classes=output.classes, levels=output.levels)
    return found.version, decode_decision(found.body)


def decision_alias(alias: str) -> str:
    """What names the decision in force beside the champion that `alias` names."""
    return decision_versions.CURRENT if alias == CHAMPION else alias


def put_decision(
    tx: Transaction,
    project: str,
    model: str,
    body: dict[str, Any],
    cause: Cause,
    alias: str = CHAMPION,
    *,
    evidence: dict[str, Any] | None = None,
) -> int:
    """Register a decision and let it decide from `cause.at` on where `alias` names the champion; gives its number."""
    version = decision_versions.register_decision(
        tx,
        project=project,
        model=model,
        body=body,
        evidence=evidence,
        at=cause.at,
        cause=cause.key,
        created_by=cause.actor,
    )
    decision_versions.set_current_decision(
        tx, project=project, model=model, version=version, at=cause.at, alias=decision_alias(alias)
    )
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
        deployments = [
            deployment(tx, project, model, said, place)
            for model, said in terms.items()
            if not said.external
            for place in said.environments[::-1]
        ]
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
