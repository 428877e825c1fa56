"""Roll back: the champion before this one serves again, after it has shown that it still can."""

from typing import Any

from loopline.errors import NotFound
from loopline.gates import variants
from loopline.gates.promotion import CHAMPION, previous_champion, roll_back
from loopline.gates.smoke import smoke_test
from loopline.incidents.actions import Cause, Outcome, Prepared
from loopline.loop.decision_rollback import decision_with
from loopline.loop.decision_terms import DECIDED
from loopline.loop.deployment import Predictors, decision_alias, put_decision
from loopline.loop.release import declared_route
from loopline.loop.resources import Resources
from loopline.models import registry
from loopline.models.decision_versions import set_current_decision
from loopline.models.registry import ModelVersion
from loopline.storage.database import Transaction


def prepare_rollback(
    resources: Resources,
    project: str,
    model: str,
    predictors: Predictors,
    cause: Cause,
    *,
    to: int | None = None,
    alias: str = CHAMPION,
) -> Prepared:
    """Load and try the target first: one that cannot be loaded or scores nonsense stays where it is.

    Raises `NotFound` where there is no earlier champion, `Corrupt` where its artifact is not what was signed.
    """
    with resources.database.reading() as tx:
        target = to or previous_champion(tx, project=project, model=model, alias=alias)
        if target is None:
            raise NotFound(
                "rollback.no_earlier", f"{model} has no earlier champion", remedy="Name a version with --to."
            )
        found = registry.get_version(tx, project, model, target)
    smoke_test(predictors.load(found.package, found.envelope))
    evidence: dict[str, Any] = {"cause": cause.sentence, "smoke_test": "passed"}

    def commit(tx: Transaction) -> Outcome:
        with_it = decision_with(tx, project, model, target, alias)
        present, back = roll_back(
            tx,
            project=project,
            model=model,
            at=cause.at,
            actor=cause.actor,
            evidence=evidence,
            key=f"rolled_back:{cause.key}",
            to=target,
            alias=alias,
        )
        _bring_decision(tx, project, model, with_it, found, cause, alias)
        names = declared_route(tx, project, model).environments
        variants.end_where_over(
            tx,
            project=project,
            model=model,
            environment=names[-1] if alias == CHAMPION else alias,
            champion=target,
            actor=cause.actor,
            at=cause.at,
            key=cause.key,
        )
        return Outcome(changed=True, sentence=f"Version {back} serves again in place of {present}.", evidence=evidence)

    return Prepared(commit)


def _bring_decision(
    tx: Transaction, project: str, model: str, with_it: int | None, found: ModelVersion, cause: Cause, alias: str
) -> None:
    """The decision that was in force with the version, or, where it never served, the one it was trained with.

    A version registered by hand brings none: the one in force goes on.
    """
    if with_it is not None:
        named = decision_alias(alias)
        set_current_decision(tx, project=project, model=model, version=with_it, at=cause.at, alias=named)
    elif "decision" in found.lineage:
        decided = found.lineage.get(DECIDED)
        put_decision(tx, project, model, found.lineage["decision"], cause, alias, evidence=decided)
