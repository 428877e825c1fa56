"""What people change: promote, roll back, freeze. Each with its ledger entry, and the manifest published anew."""

from loopline.clock import SystemClock
from loopline.errors import Conflict, NotPermitted
from loopline.gates import approval
from loopline.gates.environment import alias_of
from loopline.gates.smoke import smoke_test
from loopline.incidents import freeze as freezes
from loopline.incidents import incident
from loopline.incidents.actions import Cause, Outcome
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.deployment import Predictors, declared_terms, publish
from loopline.loop.release import Route, ask_approval, declared_route, enter, use_and_enter
from loopline.loop.resources import Resources
from loopline.loop.rollback import prepare_rollback
from loopline.models import registry
from loopline.models.registry import ModelVersion
from loopline.storage.database import Transaction
from loopline.values import micros


def promote(
    resources: Resources, *, project: str, model: str, version: int, actor: str, reason: str, to: str | None = None
) -> Outcome:
    """Make a version the champion of environment `to` (production by default) by a person's word; its own decision decides.

    It is tried first. Where the environment takes an approval, that is asked for, or, where it was given, used up. An
    environment after the first takes only what served in the one before and passed its gates.

    Raises `NotFound` for an unknown version or environment, `Conflict` for a version that skips one or failed its gates, and
    `Corrupt` for one whose artifact is not what was signed.
    """
    at = resources.clock.now()
    with resources.database.reading() as tx:
        found = registry.get_version(tx, project, model, version)
        route = declared_route(tx, project, model)
        environment = to or route.environments[-1]
        alias = alias_of(route.environments, environment)
        if registry.alias(tx, project, model, alias) == version:
            return Outcome(changed=False, sentence=f"Version {version} is the champion already.")
        check_way(tx, route, found, environment)
    smoke_test(Predictors(resources).load(found.package, found.envelope))
    cause = Cause(key=f"{model}:promote:{version}:{micros(at)}", sentence=reason, actor=actor, at=at)
    with resources.database.transaction() as tx:
        outcome = _promote(tx, route, found, environment, cause)
    publish(resources, project, at=SystemClock().now())
    return outcome


def _promote(tx: Transaction, route: Route, found: ModelVersion, environment: str, cause: Cause) -> Outcome:
    if not route.needs_approval(environment):
        return enter(tx, route, found, environment, cause, {"cause": cause.sentence, "package": found.package})
    for given in approval.counting(tx, route.project, route.model, cause.at):
        if (given.version, given.environment) == (found.version, environment):
            return use_and_enter(tx, route, given, found, cause)
    asked = ask_approval(tx, route, found, environment, cause)
    told = f"Version {found.version} waits for approval {asked.id} to enter {environment}."
    return Outcome(changed=False, sentence=told, evidence={"approval": asked.id})


def check_way(tx: Transaction, route: Route, found: ModelVersion, environment: str) -> None:
    """A later environment takes only what served in the one before, and did not fail its gates."""
    place = route.environments.index(environment)
    if place == 0:
        return
    before = route.environments[place - 1]
    served = registry.alias_history(tx, route.project, route.model, alias_of(route.environments, before))
    if found.version not in {change.version for change in served}:
        raise Conflict(
            "environment.skipped",
            f"version {found.version} of {route.model} never served in {before}",
            remedy=f"Promote it there first: `loopline promote {route.model}:{found.version} --to {before}`.",
        )
    entries = chain.entries(tx, route.project, kind="version.registered", subject=f"{route.model}:{found.version}")
    failed = [said["sentence"] for one in entries for said in one.body.get("verdicts", []) if not said["passed"]]
    if failed:
        raise Conflict(
            "promotion.gates_failed",
            f"version {found.version} of {route.model} failed its gates: {' '.join(failed)}",
            remedy=f"Promote one that passed; {environment} takes no other.",
        )


def roll_back(
    resources: Resources,
    *,
    project: str,
    model: str,
    actor: str,
    reason: str,
    to: int | None = None,
    environment: str | None = None,
) -> Outcome:
    """Bring back the environment's earlier champion, or version `to`; production's by default.

    Raises as `prepare_rollback`, and `NotPermitted` for a version that never served where approvals are asked for.
    """
    at = resources.clock.now()
    with resources.database.reading() as tx:
        route = declared_route(tx, project, model)
        place = environment or route.environments[-1]
        _check_served(tx, route, place, to)
    cause = Cause(key=f"{model}:rollback:{micros(at)}", sentence=reason, actor=actor, at=at)
    alias = alias_of(route.environments, place)
    prepared = prepare_rollback(resources, project, model, Predictors(resources), cause, to=to, alias=alias)
    with resources.database.transaction() as tx:
        outcome = prepared.commit(tx)
        for found in incident.find(tx, project, model=model, only_open=True) if place == route.environments[-1] else ():
            incident.resolve(tx, found, at=at, actor=actor, sentence=outcome.sentence)
    publish(resources, project, at=SystemClock().now())
    return outcome


def _check_served(tx: Transaction, route: Route, environment: str, to: int | None) -> None:
    """Back is back: a version that never served there would enter without its approval."""
    alias = alias_of(route.environments, environment)
    served = {change.version for change in registry.alias_history(tx, route.project, route.model, alias)}
    if to is not None and to not in served and route.needs_approval(environment):
        raise NotPermitted(
            "approval.needed",
            f"version {to} of {route.model} never served in {environment}, which takes an approval",
            remedy=f"Ask for it: `loopline promote {route.model}:{to} --to {environment}`.",
        )


def freeze(resources: Resources, *, project: str, actor: str, reason: str) -> freezes.Freeze:
    """Stop all automatic action of the project; what is frozen already stays as it was frozen."""
    with resources.database.transaction() as tx:
        made = freezes.freeze(tx, project=project, by=actor, reason=reason, at=resources.clock.now())
    _publish_exploration(resources, project)
    return made


def unfreeze(resources: Resources, *, project: str, actor: str, reason: str) -> bool:
    """Allow automatic action again; says whether it was stopped."""
    with resources.database.transaction() as tx:
        ended = freezes.unfreeze(tx, project=project, by=actor, reason=reason, at=resources.clock.now())
    _publish_exploration(resources, project)
    return ended


def _publish_exploration(resources: Resources, project: str) -> None:
    """A frozen project does not explore, and scoring learns that from the manifest. One of pipelines alone serves nothing."""
    loop = project.split(".", 1)[0]
    with resources.database.reading() as tx:
        applied = store.latest_applied(tx, loop) is not None
        explores = applied and any(terms.explore for terms in declared_terms(tx, loop).values())
    if explores:
        publish(resources, project, at=SystemClock().now())
