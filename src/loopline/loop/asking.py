"""Approvals of what is no version entering an environment: another decision for one that serves, and a loop file that asks less.

They are asked for and given as those of versions are, and used once, by whoever asked, doing the same again.
"""

from collections.abc import Iterable
from datetime import datetime

from loopline.errors import Conflict
from loopline.gates import approval
from loopline.gates.approval import REJECTED, Approval, Subject
from loopline.gates.approval_terms import ApprovalTerms
from loopline.loop.release import Route, tell
from loopline.storage.database import Transaction


def is_given(tx: Transaction, about: Subject, at: datetime) -> Approval | None:
    """The approval that was given for exactly this, and counts at `at`."""
    exactly = (about.version, about.environment, about.digest)
    given = approval.counting(tx, about.project, about.model, at)
    return next((one for one in given if (one.version, one.environment, one.digest) == exactly), None)


def use_word(tx: Transaction, about: Subject, *, by: str, at: datetime, told: str) -> bool:
    """Use up the approval that was given for exactly this; False where there is none, or it fell since."""
    given = is_given(tx, about, at)
    return given is not None and approval.use(tx, given, about, by=by, at=at, told=told) is None


def ask_for(
    tx: Transaction,
    route: Route,
    about: Subject,
    terms: ApprovalTerms,
    *,
    by: str,
    authors: Iterable[str],
    why: str,
    at: datetime,
) -> Approval:
    """Ask for it, and tell who gives it. Asking again changes nothing."""
    made, new = approval.ask(tx, about, role=terms.role, lasts=terms.lasts, by=by, authors=authors, why=why, at=at)
    if new:
        text = f"{why}: approve or reject {made.id} before {made.expires_at:%Y-%m-%d %H:%M} UTC."
        tell(tx, route, made, "approval.asked", text, at)
    return made


def was_rejected(tx: Transaction, about: Subject) -> bool:
    """Whether someone refused exactly this: then it is not asked for again by itself."""
    asked = approval.find(tx, about.project, model=about.model)
    return any(one.state == REJECTED and one.digest == about.digest for one in asked)


def needed(what: str, asked: Approval) -> Conflict:
    """The error that says what waits for whom."""
    return Conflict(
        "approval.asked_for",
        f"{what} takes the approval of a person with the role {asked.role!r}: {asked.id} is asked for",
        remedy=f"When it is given (`loopline approve {asked.id}`), do this again. It has changed nothing so far.",
        approval=asked.id,
    )
