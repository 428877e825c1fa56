"""Release: how a version gets from its gates, through environments and approvals, to what serves.

Gates promote it into the first environment. Where the next one takes an approval, that is asked for at once, and the
version enters at the first turn after it is given; where it takes none, a person moves the version on. In a replay there are
no people: what they would have said and done is assumed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from loopline.errors import Conflict
from loopline.gates import approval, variants
from loopline.gates.approval import Approval, Subject
from loopline.gates.approval_terms import ApprovalTerms
from loopline.gates.environment import ONLY_PRODUCTION, alias_of
from loopline.gates.promotion import CHAMPION, promote
from loopline.gates.smoke import smoke_test
from loopline.incidents import outbox
from loopline.incidents.actions import Cause, Outcome, Prepared
from loopline.incidents.people import People
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.decision_terms import DECIDED
from loopline.loop.deployment import Predictors, decision_alias, put_decision
from loopline.loop.lane import Lane
from loopline.loop.owner import declared_owner, declared_people
from loopline.loop.promise import start_watching
from loopline.loop.resources import Resources
from loopline.models import decision_versions, registry
from loopline.models.registry import ModelVersion
from loopline.storage.database import Transaction
from loopline.values import duration

PROMOTE = "promote"
ASSUMED = "assumed"


@dataclass(frozen=True)
class Route:
    """The environments that a model's versions pass, in order, and what they need to enter them."""

    project: str
    model: str
    environments: tuple[str, ...]
    approve: ApprovalTerms | None
    owner: str
    people: People
    replayed: bool = False

    def needs_approval(self, environment: str) -> bool:
        """Whether a person has to say so first."""
        return self.approve is not None and environment in self.approve.environments

    def after(self, environment: str) -> str | None:
        """The environment that follows; None after production."""
        place = self.environments.index(environment) + 1
        return self.environments[place] if place < len(self.environments) else None


def route_of(lane: Lane) -> Route:
    """The route that the loop file declares."""
    operation = lane.operation
    return Route(
        lane.project, lane.model, operation.environments, operation.approve, lane.owner, lane.people, lane.replayed
    )


def declared_route(tx: Transaction, project: str, model: str) -> Route:
    """The route of the loop as applied: what people do needs no loop file."""
    applied = store.latest_applied(tx, project.split(".", 1)[0])
    said = applied["declaration"]["operations"].get(model, {}) if applied else {}
    terms = msgspec.convert(said["approve"], ApprovalTerms) if "approve" in said else None
    passed = tuple(said.get("environments", ONLY_PRODUCTION))
    owner, people = declared_owner(tx, project, model), declared_people(tx, project)
    return Route(project, model, passed, terms, owner, people)


def release(tx: Transaction, route: Route, version: ModelVersion, cause: Cause, evidence: dict[str, Any]) -> Outcome:
    """Send a version that passed its gates on its way; says what it entered, or what it waits for."""
    return _approach(tx, route, version, route.environments[0], cause, evidence)


def enter(
    tx: Transaction, route: Route, version: ModelVersion, environment: str, cause: Cause, evidence: dict[str, Any]
) -> Outcome:
    """Make the version the environment's champion, with its decision; and ask for the approval of the next, if that takes one.

    Raises as `promote`.
    """
    alias = alias_of(route.environments, environment)
    if "decision" in version.lineage:  # a version registered by hand brings none: the one in force goes on
        decided = {**version.lineage.get(DECIDED, {}), "champion": version.version}
        body = version.lineage["decision"]
        number = put_decision(tx, route.project, route.model, body, cause, alias, evidence=decided)
        evidence = {**evidence, "decision": number}
    replaced = promote(
        tx,
        project=route.project,
        model=route.model,
        version=version.version,
        actor=cause.actor,
        at=cause.at,
        evidence=evidence,
        key=f"promoted:{cause.key}" if alias == CHAMPION else f"promoted:{cause.key}:{environment}",
        alias=alias,
    )
    variants.end_where_over(
        tx,
        project=route.project,
        model=route.model,
        environment=environment,
        champion=version.version,
        actor=cause.actor,
        at=cause.at,
        key=cause.key,
    )
    if alias == CHAMPION:
        start_watching(tx, version, at=cause.at)
    against = f"version {replaced}" if replaced else "the fallback"
    where = f" in {environment}" if len(route.environments) > 1 else ""
    told = f"Version {version.version} replaced {against}{where}."
    further = route.after(environment)
    if further is None or not (route.needs_approval(further) or route.replayed):
        return Outcome(changed=True, sentence=told, evidence=evidence)
    then = _approach(tx, route, version, further, cause, evidence)
    return Outcome(changed=True, sentence=f"{told} {then.sentence}", evidence=evidence)


def ask_approval(tx: Transaction, route: Route, version: ModelVersion, environment: str, cause: Cause) -> Approval:
    """Ask for the approval that the environment takes, and tell who gives it. Asking again changes nothing."""
    terms = _terms(route)
    made, new = approval.ask(
        tx,
        subject_of(tx, route, version, environment),
        role=terms.role,
        lasts=terms.lasts,
        by=cause.actor,
        authors=authors_of(tx, route.project, version),
        why=cause.sentence,
        at=cause.at,
    )
    if new and not route.replayed:
        told = f"Version {version.version} of {route.model} waits to enter {environment}: approve or reject {made.id}"
        tell(tx, route, made, "approval.asked", f"{told} before {made.expires_at:%Y-%m-%d %H:%M} UTC.", cause.at)
    return made


def subject_of(tx: Transaction, route: Route, version: ModelVersion, environment: str) -> Subject:
    """What an approval would be for: the version with the decision that it would bring into force there."""
    alias = decision_alias(alias_of(route.environments, environment))
    current = decision_versions.current_decision(tx, route.project, route.model, alias=alias)
    return Subject(
        project=route.project,
        model=route.model,
        version=version.version,
        environment=environment,
        package=version.package,
        decision=version.lineage.get("decision", current.body if current else None),
    )


def candidate_ready(tx: Transaction, lane: Lane, at: datetime) -> tuple[str, list[Approval]]:
    """Why an approved version is to enter its environment now, empty where none is; and the requests that are open."""
    if lane.operation.approve is None:
        return "", []
    route = route_of(lane)
    opened = approval.find(tx, lane.project, model=lane.model, only_open=True)
    asked = [one for one in opened if one.environment in route.environments]
    found = _next_ready(tx, route, at)
    if found is None:
        return "", asked
    by = f"{found.decided_by} approved it" if found.decided_by else "approval is assumed"
    return f"version {found.version} waits for {found.environment}, and {by}", asked


def prepare_promotion(resources: Resources, lane: Lane, predictors: Predictors, cause: Cause) -> Prepared:
    """Try the approved version first; committing uses the approval up and promotes, or says why it does not count."""
    route = route_of(lane)
    with resources.database.reading() as tx:
        found = _next_ready(tx, route, cause.at)
        if found is None:
            raise Conflict("promotion.nothing_ready", f"no version of {lane.model} waits with an approval that counts")
        version = registry.get_version(tx, lane.project, lane.model, found.version)
    smoke_test(predictors.load(version.package, version.envelope))
    return Prepared(lambda tx: use_and_enter(tx, route, found, version, cause))


def use_and_enter(tx: Transaction, route: Route, found: Approval, version: ModelVersion, cause: Cause) -> Outcome:
    """Use the approval up and let the version enter its environment, in one transaction; or say why it does not count."""
    about = subject_of(tx, route, version, found.environment)
    if route.replayed:
        approval.assume(tx, found, at=cause.at)
    elif refused := approval.use(tx, found, about, by=cause.actor, at=cause.at):
        told = f"Version {found.version} was not promoted: {refused}."
        tell(tx, route, found, "approval.refused", told, cause.at)
        return Outcome(changed=False, sentence=told)
    given = {"id": found.id, "by": found.decided_by or ASSUMED, "reason": found.reason}
    evidence = {"cause": cause.sentence, "package": version.package, "approval": given}
    return enter(tx, route, version, found.environment, cause, evidence)


def lapse(resources: Resources, lane: Lane, at: datetime) -> None:
    """End the requests whose time is over, and tell who waits."""
    if lane.operation.approve is None:
        return
    with resources.database.transaction() as tx:
        for found in approval.lapse(tx, lane.project, lane.model, at):
            if not lane.replayed:
                told = f"Nobody's approval of version {found.version} for {found.environment} counts any more."
                tell(tx, route_of(lane), found, "approval.expired", told, at)


def _approach(
    tx: Transaction, route: Route, version: ModelVersion, environment: str, cause: Cause, evidence: dict[str, Any]
) -> Outcome:
    """Enter the environment, or ask for the approval that it takes."""
    if not route.needs_approval(environment):
        return enter(tx, route, version, environment, cause, evidence)
    if route.replayed and not duration(_terms(route).assume):
        return enter(tx, route, version, environment, cause, {**evidence, "approval": {"by": ASSUMED}})
    made = ask_approval(tx, route, version, environment, cause)
    told = f"Version {version.version} waits for approval {made.id} to enter {environment}."
    return Outcome(changed=False, sentence=told, evidence={**evidence, "approval": made.id})


def _next_ready(tx: Transaction, route: Route, at: datetime) -> Approval | None:
    """The oldest request that was granted, for an environment that is still declared."""
    if route.replayed:
        waits = duration(_terms(route).assume)
        opened = approval.find(tx, route.project, model=route.model, only_open=True)
        asked = [one for one in opened if one.environment in route.environments]
        return next((one for one in asked if one.asked_at + waits <= at), None)
    given = approval.counting(tx, route.project, route.model, at)
    return next((one for one in given if one.environment in route.environments), None)


def _terms(route: Route) -> ApprovalTerms:
    if route.approve is None:
        raise Conflict("approval.not_declared", f"{route.model} takes no approvals", remedy="Promote it directly.")
    return route.approve


def authors_of(tx: Transaction, project: str, version: ModelVersion) -> set[str]:
    """Who may not approve: whoever registered it, and for what the loop made itself, whoever applied the loop."""
    applied = store.latest_applied(tx, project.split(".", 1)[0])
    return {version.created_by, *([applied["actor"]] if applied else [])}


def tell(tx: Transaction, route: Route, found: Approval, event: str, text: str, at: datetime) -> None:
    """Put it into the outbox, for who gives the approval or owns the model."""
    to = (route.approve.to if route.approve else "") or route.owner
    message = {"event": event, "model": route.model, "approval": found.id, "role": found.role, "text": text}
    outbox.put(
        tx,
        project=route.project,
        key=f"{event}:{found.id}:{chain.head(tx, route.project).seq}",
        to=to,
        severity="info",
        message={**message, "at": at.isoformat()},
        at=at,
        quiet=route.people.quiet,
    )
