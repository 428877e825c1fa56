"""Another decision for a version that serves: where what enters production takes an approval, it takes one, too."""

from typing import Any

import msgspec

from loopline.gates.approval import Approval, Subject
from loopline.gates.promotion import CHAMPION
from loopline.incidents.actions import Cause
from loopline.loop.asking import ask_for, use_word, was_rejected
from loopline.loop.deployment import decision_alias
from loopline.loop.release import authors_of, declared_route
from loopline.models import decision_versions, registry
from loopline.storage.database import Transaction

PLACE = "decision"


def about_decision(tx: Transaction, project: str, model: str, champion: int, decision: Any) -> Subject | None:
    """What an approval of the decision would be for; None where production takes none."""
    route = declared_route(tx, project, model)
    production = route.environments[-1]
    if not route.needs_approval(production):
        return None
    return Subject(
        project=project,
        model=model,
        version=champion,
        environment=f"{production}: {PLACE}",
        package=registry.get_version(tx, project, model, champion).package,
        decision=msgspec.to_builtins(decision),
    )


def may_decide(tx: Transaction, about: Subject | None, cause: Cause) -> bool:
    """Whether the decision may be put in force now: it takes no approval, or was given one, which is used up."""
    told = "The decision is put in force."
    return about is None or use_word(tx, about, by=cause.actor, at=cause.at, told=told)


def ask_to_decide(tx: Transaction, about: Subject | None, cause: Cause, *, again: bool = True) -> Approval | None:
    """Ask for the approval; not for what was rejected before, unless `again`."""
    if about is None or (not again and was_rejected(tx, about)):
        return None
    route = declared_route(tx, about.project, about.model)
    if route.approve is None:
        return None
    version = registry.get_version(tx, about.project, about.model, about.version)
    why = f"{cause.actor} wants another decision for {about.subject}, {cause.sentence}"
    authors = authors_of(tx, about.project, version)
    return ask_for(tx, route, about, route.approve, by=cause.actor, authors=authors, why=why, at=cause.at)


def decided_before(tx: Transaction, project: str, model: str, decision: int) -> bool:
    """Whether the decision was ever in force in production: to bring it back takes no approval."""
    history = decision_versions.decision_history(tx, project, model, alias=decision_alias(CHAMPION))
    return decision in {change.version for change in history}
