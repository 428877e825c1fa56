"""Roll back a decision: an earlier one decides again, and the model stays; or, with a model, the decision that was in force with it."""

from typing import Any

import msgspec
import numpy as np

from loopline.clock import SystemClock
from loopline.decisions.expected import smoke_test
from loopline.decisions.policy import Decision
from loopline.errors import Conflict, NotFound, NotPermitted
from loopline.gates.promotion import CHAMPION
from loopline.incidents.actions import Cause, Outcome, Prepared
from loopline.ledger import chain
from loopline.loop.decision_approval import decided_before
from loopline.loop.deployment import decision_alias, publish
from loopline.loop.release import declared_route
from loopline.loop.resources import Resources
from loopline.models import decision_versions, registry
from loopline.storage.database import Transaction
from loopline.values import micros


def prepare_decision_rollback(
    resources: Resources, project: str, model: str, cause: Cause, *, to: int | None = None
) -> Prepared:
    """Try the earlier decision first, then bring it back; the model is left alone.

    Raises `NotFound` where there is no earlier decision, `Conflict` where `to` decides already.
    """
    with resources.database.reading() as tx:
        target = _target(tx, project, model, to)
        found = decision_versions.get_decision(tx, project, model, target)
    smoke_test(msgspec.convert(found.body, Decision), np.linspace(0, 1, 101))
    evidence: dict[str, Any] = {"cause": cause.sentence, "smoke_test": "passed"}

    def commit(tx: Transaction) -> Outcome:
        present = decision_versions.set_current_decision(tx, project=project, model=model, version=target, at=cause.at)
        sentence = f"Decision {target} decides again in place of {present}; the model is the same."
        chain.append(
            tx,
            project=project,
            at=cause.at,
            kind="decision.rolled_back",
            actor=cause.actor,
            subject=f"{model}:decision:{target}",
            body={
                "model": model,
                "decision": target,
                "replaces": present,
                "evidence": evidence,
                "sentence": sentence,
            },
            key=f"decision_rolled_back:{cause.key}",
        )
        return Outcome(changed=True, sentence=sentence, evidence=evidence)

    return Prepared(commit)


def roll_back_decision(
    resources: Resources, *, project: str, model: str, actor: str, reason: str, to: int | None = None
) -> Outcome:
    """By a person's word; published at once. Raises as `prepare_decision_rollback`, and `NotPermitted` for a decision that was never
    in force where approvals are asked for.
    """
    at = resources.clock.now()
    with resources.database.reading() as tx:
        _check_decided(tx, project, model, to)
    cause = Cause(key=f"{model}:decision_rollback:{to or 0}:{micros(at)}", sentence=reason, actor=actor, at=at)
    prepared = prepare_decision_rollback(resources, project, model, cause, to=to)
    with resources.database.transaction() as tx:
        outcome = prepared.commit(tx)
    publish(resources, project, at=SystemClock().now())
    return outcome


def decision_with(tx: Transaction, project: str, model: str, version: int, alias: str = CHAMPION) -> int | None:
    """The decision that was in force when `version` last ceased to be what `alias` names (or is, where it still is); None where it
    never was.
    """
    reigns = registry.alias_history(tx, project, model, alias)
    places = [place for place, change in enumerate(reigns) if change.version == version]
    if not places:
        return None
    ended = reigns[places[-1] + 1].from_at if places[-1] + 1 < len(reigns) else None
    decided = decision_versions.decision_history(tx, project, model, alias=decision_alias(alias))
    before = [change.version for change in decided if ended is None or change.from_at < ended]
    return before[-1] if before else None


def _check_decided(tx: Transaction, project: str, model: str, to: int | None) -> None:
    """Back is back: what decided in another environment only would come in without an approval."""
    route = declared_route(tx, project, model)
    if to is None or not route.needs_approval(route.environments[-1]) or decided_before(tx, project, model, to):
        return
    raise NotPermitted(
        "decision.never_in_force",
        f"decision {to} of {model} never was in force in {route.environments[-1]}, which takes an approval",
        remedy=f"Ask for its costs: `loopline decide {model}`.",
    )


def _target(tx: Transaction, project: str, model: str, to: int | None) -> int:
    current = decision_versions.current_decision(tx, project, model)
    target = to if to is not None else decision_versions.previous_decision(tx, project, model)
    if current is None or target is None:
        raise NotFound(
            "decision.no_earlier",
            f"{model} has no earlier decision to bring back",
            remedy="`loopline decisions MODEL` lists what there is; name one with --to.",
        )
    if current.version == target:
        raise Conflict("decision.decides_already", f"decision {target} of {model} is the one in force already")
    return target
