"""The decisions of a model: what they rest on and cost; deciding anew, and bringing an earlier one back."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody

from loopline.access.permissions import Permission
from loopline.incidents.actions import Outcome
from loopline.loop import decide as deciding
from loopline.loop.decide import Asked, Proposal
from loopline.loop.decision_history import DecisionSummary, decision_summaries
from loopline.loop.decision_rollback import roll_back_decision
from loopline.server.control.inputs import Body, Caller, Home, Reason, Version

_DECISIONS = "/projects/{project:str}/models/{model:str}/decisions"

Cost = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class NewDecision(Body):
    """What to decide on, and why; what is not said stays as it is in force. With `dry_run` nothing changes."""

    reason: Reason
    false_positive: Cost | None = None
    false_negative: Cost | None = None
    review: Cost | None = None
    abstain_at_most: Share | None = None
    threshold: Share | None = None
    dry_run: bool = False


class DecisionRollback(Body):
    """Why, and to which decision; without one, to the one before."""

    reason: Reason
    to: Version | None = None


@get(_DECISIONS, permission=Permission.MODELS_READ, sync_to_thread=True)
def list_decisions(home: Home, project: FromPath[str], model: FromPath[str]) -> list[DecisionSummary]:
    """All decisions of a model, from the first."""
    with home.database.reading() as tx:
        return decision_summaries(tx, project, model)


@post(_DECISIONS, permission=Permission.MODELS_PROMOTE, status_code=200, sync_to_thread=True)
def decide(
    home: Home, caller: Caller, project: FromPath[str], model: FromPath[str], data: JSONBody[NewDecision]
) -> Proposal:
    """Decide on other costs; the model stays as it is."""
    asked = Asked(
        false_positive=data.false_positive,
        false_negative=data.false_negative,
        review=data.review,
        abstain_at_most=data.abstain_at_most,
        threshold=data.threshold,
    )
    if data.dry_run:
        return deciding.propose(home, project=project, model=model, asked=asked)
    return deciding.decide(home, project=project, model=model, asked=asked, actor=caller.principal, reason=data.reason)


@post(f"{_DECISIONS}/rollback", permission=Permission.MODELS_PROMOTE, status_code=200, sync_to_thread=True)
def roll_back(
    home: Home, caller: Caller, project: FromPath[str], model: FromPath[str], data: JSONBody[DecisionRollback]
) -> Outcome:
    """Bring an earlier decision back; the model stays as it is."""
    return roll_back_decision(
        home, project=project, model=model, actor=caller.principal, reason=data.reason, to=data.to
    )


HANDLERS = (list_decisions, decide, roll_back)
