"""What people change: promote, roll back, freeze. Each with its ledger entry, and the manifest published anew."""

from loopline.clock import SystemClock
from loopline.gates.promotion import CHAMPION
from loopline.gates.promotion import promote as promote_version
from loopline.gates.smoke import smoke_test
from loopline.incidents import freeze as freezes
from loopline.incidents import incident
from loopline.incidents.actions import Cause, Outcome
from loopline.loop.deployment import Predictors, publish, put_decision
from loopline.loop.resources import Resources
from loopline.loop.rollback import prepare_rollback
from loopline.models import registry
from loopline.values import micros


def promote(resources: Resources, *, project: str, model: str, version: int, actor: str, reason: str) -> Outcome:
    """Make a version the champion by a person's word, gates or not; it is tried first, and its own decision decides.

    Raises `NotFound` for an unknown version and `Corrupt` for one whose artifact is not what was signed.
    """
    at = resources.clock.now()
    with resources.database.reading() as tx:
        found = registry.get_version(tx, project, model, version)
        if registry.alias(tx, project, model, CHAMPION) == version:
            return Outcome(changed=False, sentence=f"Version {version} is the champion already.")
    smoke_test(Predictors(resources).load(found.package, found.envelope))
    cause = Cause(key=f"{model}:promote:{version}:{micros(at)}", sentence=reason, actor=actor, at=at)
    with resources.database.transaction() as tx:
        if "decision" in found.lineage:  # a version registered by hand brings none: the one in force goes on
            put_decision(tx, project, model, found.lineage["decision"], cause)
        replaced = promote_version(
            tx,
            project=project,
            model=model,
            version=version,
            actor=actor,
            at=at,
            evidence={"cause": reason, "package": found.package},
            key=f"promoted:{cause.key}",
        )
    publish(resources, project, at=SystemClock().now())
    before = f"version {replaced}" if replaced else "the fallback"
    return Outcome(changed=replaced != version, sentence=f"Version {version} replaced {before}.")


def roll_back(
    resources: Resources, *, project: str, model: str, actor: str, reason: str, to: int | None = None
) -> Outcome:
    """Bring back the earlier champion, or version `to`. Raises as `prepare_rollback`."""
    at = resources.clock.now()
    cause = Cause(key=f"{model}:rollback:{micros(at)}", sentence=reason, actor=actor, at=at)
    prepared = prepare_rollback(resources, project, model, Predictors(resources), cause, to=to)
    with resources.database.transaction() as tx:
        outcome = prepared.commit(tx)
        for found in incident.find(tx, project, model=model, only_open=True):
            incident.resolve(tx, found, at=at, actor=actor, sentence=outcome.sentence)
    publish(resources, project, at=SystemClock().now())
    return outcome


def freeze(resources: Resources, *, project: str, actor: str, reason: str) -> freezes.Freeze:
    """Stop all automatic action of the project; what is frozen already stays as it was frozen."""
    with resources.database.transaction() as tx:
        return freezes.freeze(tx, project=project, by=actor, reason=reason, at=resources.clock.now())


def unfreeze(resources: Resources, *, project: str, actor: str, reason: str) -> bool:
    """Allow automatic action again; says whether it was stopped."""
    with resources.database.transaction() as tx:
        return freezes.unfreeze(tx, project=project, by=actor, reason=reason, at=resources.clock.now())


def resolve_incident(resources: Resources, *, project: str, incident_id: str, actor: str, reason: str) -> None:
    """End an incident by a person's word. Raises `NotFound`, or `Conflict` where it is ended."""
    with resources.database.transaction() as tx:
        found = incident.get(tx, project, incident_id)
        incident.resolve(tx, found, at=resources.clock.now(), actor=actor, sentence=reason)
