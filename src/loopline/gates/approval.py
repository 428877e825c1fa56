"""Approvals: a person's word that one version, with one decision, may enter one environment. Asked, given, used once.

    asked ── approve ──► approved ── use ──► used
      │  ◄── fall ────────── │
      ├── reject ──► rejected ◄── reject ┤
      ├── lapse ───► expired  ◄── lapse ─┤
      └── withdraw ► withdrawn ◄─────────┘

Every step writes its ledger entry in the caller's transaction. What is not drawn is refused and changes nothing.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from loopline.access import principals, tokens
from loopline.access.identity import Identity, require
from loopline.access.permissions import Permission
from loopline.errors import Conflict, NotFound, NotPermitted
from loopline.gates import store
from loopline.gates.approval_terms import may_approve
from loopline.ledger import chain
from loopline.storage.database import Transaction, lock
from loopline.values import canonical_json, derive_id, utc
from loopline.values import digest as digest_of

ASKED, APPROVED, REJECTED, USED, EXPIRED, WITHDRAWN = "asked", "approved", "rejected", "used", "expired", "withdrawn"
OPEN = (ASKED, APPROVED)
_LOCAL = "local:"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What an approval is for: a version with its package (digest) and decision (JSON), in an environment of a project."""

    project: str
    model: str
    version: int
    environment: str
    package: str
    decision: dict[str, Any] | None

    @property
    def subject(self) -> str:
        """The version, e.g. `late_arrival:3`; the model alone where it is about no version."""
        return f"{self.model}:{self.version}" if self.version else self.model

    @property
    def digest(self) -> str:
        """Covers package, decision and environment: an approval counts for exactly these."""
        content = {"package": self.package, "decision": self.decision, "environment": self.environment}
        return digest_of(canonical_json(content))


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what became of it. `authors` are those who may not give it; times are UTC.

    `expires_at` is until when it may be given, `counts_until` until when what was given counts; `token` is the id of the
    token it was given with; `ended_at` when it was used, rejected, withdrawn or found expired.
    """

    id: str
    project: str
    model: str
    version: int
    environment: str
    digest: str
    role: str
    authors: tuple[str, ...]
    asked_by: str
    asked_at: datetime
    expires_at: datetime
    why: str
    state: str = ASKED
    decided_by: str | None = None
    decided_at: datetime | None = None
    token: str | None = None
    reason: str | None = None
    counts_until: datetime | None = None
    ended_at: datetime | None = None

    @property
    def subject(self) -> str:
        """What the ledger files it under, e.g. `late_arrival:3`; the model alone where it is about no version."""
        return f"{self.model}:{self.version}" if self.version else self.model


def ask(
    tx: Transaction,
    about: Subject,
    *,
    role: str,
    lasts: timedelta,
    by: str,
    authors: Iterable[str],
    why: str,
    at: datetime,
) -> tuple[Approval, bool]:
    """Ask for an approval; the open request for the same thing is given again. Says whether it is new.

    Open requests for other versions of the model in this environment are withdrawn: the newest candidate stands.
    """
    lock(tx, "approval", about.project, about.model)
    earlier = [one for one in find(tx, about.project, model=about.model) if one.environment == about.environment]
    for one in earlier:
        if one.state in OPEN and one.version == about.version and one.digest == about.digest:
            lapsed = _lapse(tx, one, at)
            if lapsed.state in OPEN:
                return lapsed, False
        elif one.state in OPEN:
            _end(tx, one, WITHDRAWN, by=by, at=at, told=f"{about.subject} is asked for instead.")
    count = sum(one.version == about.version for one in earlier)
    made = Approval(
        id=derive_id("apr", 0, about.project, about.model, about.version, about.environment, count),
        project=about.project,
        model=about.model,
        version=about.version,
        environment=about.environment,
        digest=about.digest,
        role=role,
        authors=tuple(sorted({*authors, by} - {"loop"})),
        asked_by=by,
        asked_at=utc(at),
        expires_at=utc(at) + lasts,
        why=why,
    )
    store.insert(tx, msgspec.structs.asdict(made))
    body = {"approval": made.id, "environment": made.environment, "digest": made.digest, "role": role, "why": why}
    _record(tx, made, "approval.asked", by, at, body | {"authors": made.authors, "expires_at": made.expires_at})
    return made, True


def approve(
    tx: Transaction, found: Approval, who: Identity, *, lasts: timedelta, reason: str, at: datetime
) -> Approval:
    """Give the approval; it counts for `lasts` from `at`.

    Raises `NotPermitted` for whoever lacks the role or the permission, is no person, or is one of the authors, and
    `Conflict` for a request that is not waiting any more (given before, rejected, used, expired, withdrawn).
    """
    found = _waiting(tx, found, at)
    if found.state != ASKED:
        raise _decided(found)
    _check_approver(tx, found, who)
    given = {"decided_by": who.principal, "decided_at": utc(at), "token": who.token_id, "reason": reason}
    changed = _put(tx, found, {**given, "state": APPROVED, "counts_until": utc(at) + lasts})
    body = {"approval": found.id, "digest": found.digest, "environment": found.environment, "reason": reason}
    _record(tx, found, "approval.approved", who.principal, at, body | {"counts_until": changed.counts_until})
    return changed


def reject(tx: Transaction, found: Approval, who: Identity, *, reason: str, at: datetime) -> Approval:
    """Refuse it for good, also where it was given and not yet used. Raises `Conflict`, and `NotPermitted` without the role;
    authors may: taking one's own work back needs no second person.
    """
    found = _waiting(tx, found, at)
    _check_role(tx, found, who)
    given = {"decided_by": who.principal, "decided_at": utc(at), "token": who.token_id, "reason": reason}
    return _end(tx, found, REJECTED, by=who.principal, at=at, told=reason, also=given)


def withdraw(tx: Transaction, found: Approval, *, by: str, reason: str, at: datetime) -> Approval:
    """Take the request back. Raises `Conflict` where it is not open any more."""
    return _end(tx, _waiting(tx, found, at), WITHDRAWN, by=by, at=at, told=reason)


def lapse(tx: Transaction, project: str, model: str, at: datetime) -> list[Approval]:
    """End what is open and past its time; gives what was ended."""
    if not find(tx, project, model=model, only_open=True):
        return []
    lock(tx, "approval", project, model)
    return [
        ended
        for one in find(tx, project, model=model, only_open=True)
        if (ended := _lapse(tx, one, at)).state == EXPIRED
    ]


def use(
    tx: Transaction, found: Approval, about: Subject, *, by: str, at: datetime, told: str | None = None
) -> str | None:
    """Use the approval up for `about`, once, in the transaction of the promotion; None, or why it gives nothing. `told` says what it
    was used for, where that is not a version's entering its environment.

    What was given by someone who has lost the role since, or with a token revoked since, falls: the request waits again.
    """
    lock(tx, "approval", found.project, found.model)
    found = _lapse(tx, get(tx, found.project, found.id), at)
    if found.state != APPROVED:
        return f"approval {found.id} is {found.state}"
    if found.digest != about.digest or (found.model, found.version) != (about.model, about.version):
        return f"approval {found.id} is for another version, decision or environment"
    if found.decided_at is None or utc(at) < found.decided_at:
        return f"approval {found.id} was given at a later time than this"
    fallen = _fallen(tx, found)
    if fallen:
        _fall(tx, found, at, fallen)
        return f"approval {found.id} does not count any more: {fallen}"
    _end(tx, found, USED, by=by, at=at, told=told or f"{found.subject} enters {found.environment}.")
    return None


def assume(tx: Transaction, found: Approval, *, at: datetime) -> None:
    """In a replay nobody can be asked: take it that the approval was given, and use it up."""
    _end(tx, found, USED, by="replay", at=at, told="That it was given is assumed.")


def counting(tx: Transaction, project: str, model: str, at: datetime) -> list[Approval]:
    """The approvals that were given by `at` and count then, oldest first; whether the giver still may is asked at `use`."""
    seen = _seen(tx, project, at)
    return [
        one
        for one in find(tx, project, model=model, only_open=True)
        if one.state == APPROVED and one.decided_at and one.counts_until and one.decided_at <= utc(at)
        if seen < one.counts_until
    ]


def find(tx: Transaction, project: str, *, model: str | None = None, only_open: bool = False) -> list[Approval]:
    """Requests, oldest first."""
    rows = store.select(tx, project, model=model, states=OPEN if only_open else ())
    return [_read(row) for row in rows]


def get(tx: Transaction, project: str, approval_id: str) -> Approval:
    """Raises `NotFound`."""
    row = store.one(tx, project, approval_id)
    if row is None:
        raise NotFound(
            "approval.unknown",
            f"there is no approval {approval_id!r} in {project}",
            remedy="`loopline approvals` lists them.",
        )
    return _read(row)


def _read(row: dict[str, Any]) -> Approval:
    return Approval(**row | {"authors": tuple(row["authors"])})


def _check_approver(tx: Transaction, found: Approval, who: Identity) -> None:
    _check_role(tx, found, who)
    if _person(who.principal) in {_person(author) for author in found.authors}:
        raise NotPermitted(
            "approval.own_work",
            f"{who.principal!r} made or asked for {found.subject} and cannot approve it",
            remedy=f"Ask another person with the role {found.role!r}.",
        )


def _check_role(tx: Transaction, found: Approval, who: Identity) -> None:
    require(who, Permission.MODELS_APPROVE)
    principal = next((one for one in principals.principals(tx) if one.name == who.principal), None)
    if principal is None or principal.kind != "person" or not may_approve(principal.roles, found.role):
        raise NotPermitted(
            "approval.not_the_role",
            f"{who.principal!r} is no person with the role {found.role!r}",
            remedy="Ask someone who has it, with a token of their own.",
        )


def _fallen(tx: Transaction, found: Approval) -> str | None:
    """Why what was given does not count any more, although its time has not come."""
    giver = next((one for one in principals.principals(tx) if one.name == found.decided_by), None)
    if giver is None or not may_approve(giver.roles, found.role):
        return f"{found.decided_by} has not the role {found.role!r} any more"
    token = next((one for one in tokens.tokens(tx) if one.token_id == found.token), None)
    if token is not None and token.revoked_at is not None:
        return f"the token it was given with was revoked at {token.revoked_at.isoformat()}"
    return None


def _fall(tx: Transaction, found: Approval, at: datetime, why: str) -> None:
    nothing = dict.fromkeys(("decided_by", "decided_at", "token", "reason", "counts_until"))
    _put(tx, found, {**nothing, "state": ASKED})
    body = {"approval": found.id, "given_by": found.decided_by, "why": why}
    _record(tx, found, "approval.fell", "loop", at, body)


def _person(name: str) -> str:
    """A user of this machine and a principal of the same name are taken to be the same person."""
    return name.removeprefix(_LOCAL).casefold()


def _waiting(tx: Transaction, found: Approval, at: datetime) -> Approval:
    """As it is now, with nobody else at it until the transaction ends. Raises `Conflict` where it is not open."""
    lock(tx, "approval", found.project, found.model)
    found = get(tx, found.project, found.id)
    if found.state not in OPEN or _ends(found) <= _seen(tx, found.project, at):
        raise _decided(found)
    if utc(at) < found.asked_at:
        raise Conflict(
            "approval.before_asked",
            f"the clock stands at {utc(at).isoformat()}, before approval {found.id} was asked for",
            remedy="Set the clock right.",
        )
    return found


def _decided(found: Approval) -> Conflict:
    by = f" by {found.decided_by}" if found.decided_by else ""
    state = found.state if found.state != ASKED else EXPIRED
    return Conflict(
        "approval.decided",
        f"approval {found.id} is {state}{by}: it gives nothing any more",
        remedy="Ask anew with `loopline promote MODEL:VERSION --to ENVIRONMENT`.",
        state=state,
    )


def _lapse(tx: Transaction, found: Approval, at: datetime) -> Approval:
    if found.state not in OPEN or _seen(tx, found.project, at) < _ends(found):
        return found
    return _end(tx, found, EXPIRED, by="loop", at=at, told=f"Its time ended at {_ends(found).isoformat()}.")


def _ends(found: Approval) -> datetime:
    return found.counts_until if found.state == APPROVED and found.counts_until else found.expires_at


def _seen(tx: Transaction, project: str, at: datetime) -> datetime:
    """The latest time this project is known to have reached: a clock that is set back brings nothing back to life."""
    newest = chain.entries(tx, project, newest_first=True, limit=1)
    return max(utc(at), *(entry.at for entry in newest)) if newest else utc(at)


def _end(
    tx: Transaction,
    found: Approval,
    state: str,
    *,
    by: str,
    at: datetime,
    told: str,
    also: dict[str, Any] | None = None,
) -> Approval:
    changed = _put(tx, found, {"state": state, "ended_at": utc(at), **(also or {})})
    body = {"approval": found.id, "digest": found.digest, "environment": found.environment, "sentence": told}
    _record(tx, found, f"approval.{state}", by, at, body)
    return changed


def _put(tx: Transaction, found: Approval, values: dict[str, Any]) -> Approval:
    store.update(tx, found.id, values)
    return msgspec.structs.replace(found, **values)


def _record(tx: Transaction, found: Approval, kind: str, actor: str, at: datetime, body: dict[str, Any]) -> None:
    number = chain.head(tx, found.project).seq + 1  # one may be given, fall, and be given again
    chain.append(
        tx,
        project=found.project,
        at=at,
        kind=kind,
        actor=actor,
        subject=found.subject,
        body=body,
        key=f"{kind}:{found.id}:{number}",
    )
