"""What people change about who may do what: each with its entry in a ledger of its own, and the manifests published anew."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from loopline.access import principals, tokens
from loopline.access.identity import Identity
from loopline.access.logins import redeem_login
from loopline.access.permissions import Permission
from loopline.access.principals import Kind, Principal
from loopline.access.roles import ROLES, Role
from loopline.access.tokens import Token
from loopline.errors import InvalidInput, NotFound, NotPermitted
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.deployment import publish
from loopline.loop.resources import Resources
from loopline.storage.database import Transaction
from loopline.values import micros

# No loop can have this name: it is no identifier.
LEDGER = "@access"
LONGEST = timedelta(days=366)


def issue_token(
    resources: Resources,
    caller: Identity,
    *,
    principal: str,
    name: str,
    scopes: Iterable[str] | None,
    valid_for: timedelta,
    at: datetime,
) -> tuple[str, Token]:
    """A token for a principal and its secret, which is kept nowhere. It permits nothing that the caller's own does not.

    `at` is the machine's time, as for all of access. Raises as `tokens.issue_token`, `NotPermitted` "access.beyond_own", and
    `InvalidInput` "token.valid_too_long" for more than a year.
    """
    if valid_for > LONGEST:
        raise InvalidInput(
            "token.valid_too_long", f"a token is valid for at most {LONGEST.days} days", remedy="Renew it in time."
        )
    with resources.database.transaction() as tx:
        asked = principals.get_principal(tx, principal).permissions if scopes is None else scopes
        secret, token = tokens.issue_token(tx, principal, scopes=scopes, expires_at=at + valid_for, at=at, name=name)
        refuse_beyond(caller, asked)
        body = {"principal": principal, "name": name, "scopes": token.scopes, "expires_at": token.expires_at}
        _record(tx, "token.issued", caller, token.token_id, body, at)
    _publish_all(resources, at)
    return secret, token


def revoke_token(resources: Resources, caller: Identity, token_id: str, *, at: datetime) -> None:
    """End a token at once; a second time changes nothing. Raises `NotFound` "token.not_found"."""
    with resources.database.transaction() as tx:
        found = _token(tx, token_id)
        if found.revoked_at is not None:
            return
        tokens.revoke_token(tx, token_id, at)
        _record(tx, "token.revoked", caller, token_id, {"principal": found.principal, "name": found.name}, at)
    _publish_all(resources, at)


def begin_session(resources: Resources, secret: str, *, valid_for: timedelta, at: datetime) -> str:
    """Use a one-time login up; gives the secret of a token that follows its principal's roles. Raises as `redeem_login`."""
    with resources.database.transaction() as tx:
        who = redeem_login(tx, secret, at)
        session, token = tokens.issue_token(
            tx, who.principal, scopes=None, expires_at=at + valid_for, at=at, name="browser session"
        )
        _record(tx, "session.begun", who, token.token_id, {"expires_at": token.expires_at}, at)
    return session


def create_principal(
    resources: Resources, caller: Identity, *, name: str, kind: Kind, roles: Iterable[str], at: datetime
) -> Principal:
    """Add a principal, whose roles permit nothing that the caller may not do itself.

    Raises as `principals.create_principal`, and `NotPermitted` "access.beyond_own".
    """
    with resources.database.transaction() as tx:
        made = principals.create_principal(tx, name, kind, roles, at)
        refuse_beyond(caller, made.permissions)
        _record(tx, "principal.created", caller, name, {"kind": kind, "roles": made.roles}, at)
    return made


def ensure_role(resources: Resources, caller: Identity, *, name: str, role: Role, at: datetime) -> None:
    """The principal exists, as a person where it is new, and has at least this role. Raises as `create_principal`."""
    with resources.database.transaction() as tx:
        known = {found.name: found for found in principals.principals(tx)}
        found = known.get(name)
        refuse_beyond(caller, ROLES[role])
        if found is None:
            principals.create_principal(tx, name, "person", [role], at)
            _record(tx, "principal.created", caller, name, {"kind": "person", "roles": [role]}, at)
        elif role not in found.roles:
            principals.set_roles(tx, name, [*found.roles, role])
            _record(tx, "role.granted", caller, f"{name}:{role}:{micros(at)}", {"role": role}, at)


def refuse_beyond(caller: Identity, asked: Iterable[str]) -> None:
    """Nobody hands out more than they hold: raise `NotPermitted` "access.beyond_own"."""
    beyond = sorted(set(asked) - caller.permissions)
    if beyond:
        raise NotPermitted(
            "access.beyond_own",
            f"{caller.principal!r} cannot hand out what this token does not permit: {', '.join(beyond)}",
            remedy="Ask for less, or use a token that permits it.",
            permissions=[str(Permission(name)) for name in beyond],
        )


def _token(tx: Transaction, token_id: str) -> Token:
    for token in tokens.tokens(tx):
        if token.token_id == token_id:
            return token
    raise NotFound("token.not_found", f"there is no token {token_id!r}", remedy="List the tokens to find its id.")


def _record(
    tx: Transaction, kind: str, caller: Identity, subject: str, body: Mapping[str, object], at: datetime
) -> None:
    chain.append(
        tx,
        project=LEDGER,
        at=at,
        kind=kind,
        actor=caller.principal,
        subject=subject,
        body=dict(body),
        key=f"{kind}:{subject}",
    )


def _publish_all(resources: Resources, at: datetime) -> None:
    """Scoring processes learn of tokens from the manifests."""
    with resources.database.reading() as tx:
        names = store.applied_loops(tx)
    for name in names:
        publish(resources, name, at=at)
