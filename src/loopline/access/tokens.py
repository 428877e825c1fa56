"""Tokens: opaque secrets of 256 bits that stand for a principal, with a scope and an end.

A token permits what is both in its scopes and in its principal's roles at that moment: taking a role away takes effect at
once. Only SHA-256 digests are stored.
"""

import hmac
from collections.abc import Iterable
from datetime import datetime

import msgspec
import sqlalchemy as sa

from loopline.access import store
from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.access.principals import get_principal
from loopline.access.roles import Role, permissions_of
from loopline.access.secret import Entropy, new_secret, secret_digest, system_entropy
from loopline.errors import InvalidInput, NotAuthenticated, NotFound
from loopline.storage.database import Transaction
from loopline.values import derive_id, utc


class Token(msgspec.Struct, frozen=True):
    """A token without its secret. `scopes` is None for all that the principal may do; times are UTC."""

    token_id: str
    digest: str
    principal: str
    name: str
    scopes: tuple[Permission, ...] | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None


class Grant(msgspec.Struct, frozen=True):
    """What a deployment manifest says of a token: the SHA-256 of its secret (64 hex digits) and what it permits."""

    digest: str
    principal: str
    permissions: tuple[Permission, ...]
    expires_at: datetime


def issue_token(
    tx: Transaction,
    principal: str,
    *,
    scopes: Iterable[str] | None,
    expires_at: datetime,
    at: datetime,
    name: str,
    entropy: Entropy = system_entropy,
) -> tuple[str, Token]:
    """A new secret for the principal of this name, and its token. The secret is not kept: show it once.

    `scopes=None` follows the principal's roles. Raises `NotFound` for an unknown principal, and `InvalidInput` for an end that
    is not after `at`, an unknown permission, or one beyond what the principal's roles permit now.
    """
    owner = get_principal(tx, principal)
    _check_end(at, expires_at)
    secret = new_secret(entropy)
    digest = secret_digest(secret)
    token = Token(
        token_id=derive_id("token", 0, digest),
        digest=digest,
        principal=principal,
        name=name,
        scopes=None if scopes is None else _read_scopes(scopes, owner.permissions),
        created_at=utc(at),
        expires_at=utc(expires_at),
    )
    store.insert_token(tx, msgspec.structs.asdict(token))
    return secret, token


def authenticate(tx: Transaction, secret: str | None, now: datetime) -> Identity:
    """Who holds this secret, and what it permits at `now`. A transaction for reading is enough.

    Raises `NotAuthenticated` with "token.missing", "token.unknown", "token.revoked" or "token.expired".
    """
    if not secret:
        raise _refused("missing", "a token is needed")
    digest = secret_digest(secret)
    row = store.token_with_digest(tx, digest)
    if row is None or not hmac.compare_digest(row["digest"], digest):
        raise _refused("unknown", "this token is not known")
    if row["revoked_at"] is not None:
        raise _refused("revoked", f"the token {row['name']!r} was revoked")
    if row["expires_at"] <= utc(now):
        raise _refused("expired", f"the token {row['name']!r} expired at {row['expires_at'].isoformat()}")
    return Identity(row["principal"], _effective(row), row["token_id"])


def revoke_token(tx: Transaction, token_id: str, at: datetime) -> None:
    """End a token now; a second time changes nothing. Raises `NotFound` "token.not_found"."""
    if not store.revoke_token(tx, token_id, utc(at)):
        raise NotFound("token.not_found", f"there is no token {token_id!r}", remedy="List the tokens to find its id.")


def tokens(tx: Transaction) -> list[Token]:
    """Every token, also the ended ones, oldest first."""
    return [Token(**{**row, "scopes": _scopes(row)}) for row in store.all_tokens(tx)]


def grants(tx: Transaction, now: datetime) -> list[Grant]:
    """What each live token permits at `now`, by digest; for the manifest that scoring processes check tokens against."""
    return [
        Grant(row["digest"], row["principal"], tuple(sorted(_effective(row))), row["expires_at"])
        for row in store.live_tokens(tx, utc(now))
    ]


def _effective(row: sa.RowMapping) -> frozenset[Permission]:
    permitted = permissions_of(Role(role) for role in row["roles"])
    scopes = _scopes(row)
    return permitted if scopes is None else permitted & set(scopes)


def _scopes(row: sa.RowMapping) -> tuple[Permission, ...] | None:
    return None if row["scopes"] is None else tuple(Permission(scope) for scope in row["scopes"])


def _check_end(at: datetime, expires_at: datetime) -> None:
    if utc(expires_at) <= utc(at):
        raise InvalidInput(
            "token.ends_before_it_begins",
            f"{expires_at.isoformat()} is not after {at.isoformat()}",
            remedy="Give a later end.",
        )


def _read_scopes(names: Iterable[str], permitted: frozenset[Permission]) -> tuple[Permission, ...]:
    asked = set(names)
    unknown = sorted(asked - set(Permission))
    if unknown:
        raise InvalidInput(
            "permission.unknown",
            f"no such permission: {', '.join(unknown)}",
            remedy=f"Choose among {', '.join(Permission)}.",
        )
    beyond = sorted(asked - permitted)
    if beyond:
        raise InvalidInput(
            "token.scope_beyond_roles",
            f"the principal itself may not {', '.join(beyond)}",
            remedy="Give the principal a role that has it, or leave it out.",
        )
    return tuple(sorted(Permission(name) for name in asked))


def _refused(what: str, message: str) -> NotAuthenticated:
    return NotAuthenticated(
        f"token.{what}", message, remedy="Send `Authorization: Bearer ll_...` with a token that an admin issued."
    )
