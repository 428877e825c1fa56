"""What people deploy beside a champion: canaries, splits and shadows; each change with its ledger entry, the manifest published anew."""

from typing import Any

from loopline.clock import SystemClock
from loopline.errors import Conflict
from loopline.evaluation.losses import require_fit
from loopline.gates import approval, variants
from loopline.gates.environment import alias_of
from loopline.gates.smoke import smoke_test
from loopline.gates.variants import PROMOTED, SHADOW, TAKEN_AWAY, Deployed, Wanted
from loopline.incidents.actions import Cause, Outcome
from loopline.loop import changes
from loopline.loop.changes import check_way
from loopline.loop.deployment import Predictors, declared_output, publish
from loopline.loop.release import Route, ask_approval, declared_route, enter, subject_of
from loopline.loop.resources import Resources
from loopline.loop.variants import refuse_other_features, trained_views
from loopline.models import registry
from loopline.models.predictor import Predictor
from loopline.models.registry import ModelVersion
from loopline.models.signature import Signature
from loopline.storage.database import Transaction
from loopline.values import micros

_TOLD = {"canary": "answers {share:.4g} % of the keys as a canary", "split": "answers {share:.4g} % of the keys"}


def environment_of(tx: Transaction, project: str, model: str, environment: str | None) -> str:
    """The environment that was said, or production. Raises `NotFound` for one that is not declared."""
    names = declared_route(tx, project, model).environments
    alias_of(names, environment or names[-1])
    return environment or names[-1]


def deploy(resources: Resources, wanted: Wanted, *, actor: str, reason: str) -> Outcome:
    """Put a version beside the champion by a person's word. It is tried first.

    What answers needs what a promotion needs: where the environment takes an approval, that is asked for or used up, and a later
    environment takes only what served in the one before. A shadow answers nobody and needs neither.

    Raises as `variants.start` and `changes.promote`, and `Conflict`: "loss.other_kind" for terms that do not fit the model, "deploy.no_champion",
    "deploy.other_columns" for a version that
    takes other columns than the champion, "deploy.other_features" for one whose features mean something else.
    """
    at = resources.clock.now()
    project, model = wanted.project, wanted.model
    _check_terms(resources, wanted)
    with resources.database.reading() as tx:
        found = registry.get_version(tx, project, model, wanted.version)
        route = declared_route(tx, project, model)
        champion = _champion(tx, route, wanted.environment)
        others = variants.find(tx, project, model=model, environment=wanted.environment, only_running=True)
        refuse_other_features(tx, project, model, wanted.version, [champion, *(one.version for one in others)])
        if wanted.role != SHADOW:
            check_way(tx, route, found, wanted.environment)
        predictors = Predictors(resources)
        refuse_other_columns(predictors, tx, found, champion)
    smoke_test(predictors.load(found.package, found.envelope))
    key = f"{model}:deploy:{wanted.environment}:{wanted.role}:{wanted.name}:{wanted.version}:{micros(at)}"
    cause = Cause(key, reason, actor, at)
    with resources.database.transaction() as tx:
        outcome = _deploy(tx, route, wanted, found, champion, cause)
    publish(resources, project, at=SystemClock().now())
    return outcome


def refuse_other_columns(predictors: Predictors, tx: Transaction, found: ModelVersion, champion: int) -> None:
    """Raise `Conflict` "deploy.other_columns" unless the version can answer what callers of the champion send, in kind."""
    mine = predictors.load(found.package, found.envelope)
    theirs: Predictor = predictors.version(tx, found.project, found.model, champion)
    taken = _given(theirs.signature)
    other = sorted(name for name, kind in _given(mine.signature).items() if taken.get(name) != kind)
    sent = {*taken, *_looked_up_by(tx, found, champion)}
    other += sorted(set(_looked_up_by(tx, found, found.version)) - sent)
    if mine.signature.output != theirs.signature.output:
        other.append("its output")
    if other:
        raise Conflict(
            "deploy.other_columns",
            f"version {found.version} of {found.model} takes other columns than version {champion}: {', '.join(other)}",
            remedy="Callers send what the champion takes. Promote the version instead, once callers send the new columns.",
            columns=other,
        )


def change_share(resources: Resources, found: Deployed, share: float, *, actor: str, reason: str) -> Outcome:
    """Give the variant another share. Raises as `variants.set_share`."""
    at = resources.clock.now()
    with resources.database.transaction() as tx:
        key = f"{found.id}:{micros(at)}"
        changed = variants.set_share(tx, found, share, actor=actor, why=reason, at=at, key=key)
    publish(resources, found.project, at=SystemClock().now())
    differs = changed.share != found.share
    told = f"{found.name} has {changed.share * 100:.4g} % instead of {found.share * 100:.4g} %."
    return Outcome(changed=differs, sentence=told if differs else f"{found.name} has that share already.")


def stop(resources: Resources, found: Deployed, *, actor: str, reason: str) -> Outcome:
    """Take the variant away; the champion answers its keys. Raises as `variants.end`."""
    at = resources.clock.now()
    with resources.database.transaction() as tx:
        variants.end(tx, found, TAKEN_AWAY, actor=actor, why=reason, at=at, key=found.id)
    publish(resources, found.project, at=SystemClock().now())
    return Outcome(changed=True, sentence=f"{found.name} (version {found.version}) runs no more.")


def promote_variant(resources: Resources, found: Deployed, *, actor: str, reason: str) -> Outcome:
    """Make the variant's version the champion by a person's word; what it was approved for as a canary or split counts.

    A shadow is promoted as any version is. Raises as `changes.promote` and `variants.end`.
    """
    if found.role == SHADOW:
        return changes.promote(
            resources,
            project=found.project,
            model=found.model,
            version=found.version,
            actor=actor,
            reason=reason,
            to=found.environment,
        )
    at = resources.clock.now()
    with resources.database.reading() as tx:
        version = registry.get_version(tx, found.project, found.model, found.version)
    smoke_test(Predictors(resources).load(version.package, version.envelope))
    cause = Cause(f"{found.model}:promote:{found.id}:{micros(at)}", reason, actor, at)
    with resources.database.transaction() as tx:
        outcome = conclude_promotion(tx, found, version, cause, {})
    publish(resources, found.project, at=SystemClock().now())
    return outcome


def conclude_promotion(
    tx: Transaction,
    found: Deployed,
    version: ModelVersion,
    cause: Cause,
    evidence: dict[str, Any],
    measured: dict[str, Any] | None = None,
) -> Outcome:
    """End the variant as promoted and let its version enter, in one transaction. `measured` stays out of the ledger's digest."""
    variants.end(
        tx,
        found,
        PROMOTED,
        actor=cause.actor,
        why=cause.sentence,
        at=cause.at,
        key=cause.key,
        evidence=evidence,
        measured=measured,
    )
    route = declared_route(tx, found.project, found.model)
    told = {"cause": cause.sentence, "package": version.package, "variant": found.id, **evidence}
    given = {"approval": {"id": found.approval}} if found.approval else {}
    return enter(tx, route, version, found.environment, cause, told | given)


def _check_terms(resources: Resources, wanted: Wanted) -> None:
    """A loss that does not judge this kind of model would never come to a verdict."""
    if wanted.terms is None or wanted.terms.labels is None:
        return
    with resources.database.reading() as tx:
        require_fit(wanted.terms.loss, declared_output(tx, wanted.project, wanted.model))


def _champion(tx: Transaction, route: Route, environment: str) -> int:
    champion = registry.alias(tx, route.project, route.model, alias_of(route.environments, environment))
    if champion is None:
        raise Conflict(
            "deploy.no_champion",
            f"{route.model} has no champion in {environment} to be beside",
            remedy=f"Promote a version first: `loopline promote {route.model}:VERSION --to {environment}`.",
        )
    return champion


def _deploy(tx: Transaction, route: Route, wanted: Wanted, found: ModelVersion, champion: int, cause: Cause) -> Outcome:
    given = None
    if wanted.role != SHADOW and route.needs_approval(wanted.environment):
        given, told = _approved(tx, route, wanted, found, cause)
        if given is None:
            return told
    made = variants.start(
        tx,
        wanted,
        against=champion,
        actor=cause.actor,
        why=cause.sentence,
        at=cause.at,
        key=cause.key,
        approval=given,
    )
    does = _TOLD.get(made.role, "scores {share:.4g} % of the keys in the background").format(share=made.share * 100)
    return Outcome(
        changed=True,
        sentence=f"Version {made.version} {does} beside version {champion}, as {made.name}.",
        evidence={"variant": made.id, "name": made.name},
    )


def _approved(
    tx: Transaction, route: Route, wanted: Wanted, found: ModelVersion, cause: Cause
) -> tuple[str | None, Outcome]:
    """The approval that was given for this and is used up now; or what is waited for."""
    environment = wanted.environment
    for one in approval.counting(tx, route.project, route.model, cause.at):
        if (one.version, one.environment) == (found.version, environment):
            about = subject_of(tx, route, found, environment)
            refused = approval.use(tx, one, about, by=cause.actor, at=cause.at)
            if refused is None:
                return one.id, Outcome(changed=True, sentence="")
            return None, Outcome(changed=False, sentence=f"Version {found.version} was not deployed: {refused}.")
    asked = ask_approval(tx, route, found, environment, cause)
    told = f"Version {found.version} waits for approval {asked.id} to enter {environment}; deploy it again once it is given."
    return None, Outcome(changed=False, sentence=told, evidence={"approval": asked.id})


def _looked_up_by(tx: Transaction, found: ModelVersion, version: int) -> set[str]:
    """The columns that callers send for features to be looked up by."""
    return {view["by"] for view in trained_views(tx, found.project, found.model, version)}


def _given(signature: Signature) -> dict[str, str]:
    return {field.name: field.kind for field in signature.fields if field.given}
