"""The tables of principals, tokens and one-time logins, and their SQL."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime, metadata
from loopline.storage.database import Transaction, insert_once

principal = sa.Table(
    "principal",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("roles", Json, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)

token = sa.Table(
    "token",
    metadata,
    sa.Column("token_id", sa.String, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("principal", sa.String, sa.ForeignKey("principal.name"), nullable=False, index=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("scopes", Json),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Column("revoked_at", UtcTime),
)

login = sa.Table(
    "login",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("principal", sa.String, sa.ForeignKey("principal.name"), nullable=False, index=True),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Column("used_at", UtcTime),
)


def insert_principal(tx: Transaction, values: dict[str, Any]) -> bool:
    """Add a principal unless the name is taken; says whether it was added."""
    return insert_once(tx, principal, values)


def set_roles(tx: Transaction, name: str, roles: list[str]) -> bool:
    """Replace the roles; says whether there is such a principal."""
    return tx.execute(principal.update().where(principal.c.name == name).values(roles=roles)).rowcount == 1


def principal_named(tx: Transaction, name: str) -> sa.RowMapping | None:
    """The principal's row."""
    return tx.execute(sa.select(principal).where(principal.c.name == name)).mappings().one_or_none()


def all_principals(tx: Transaction) -> list[sa.RowMapping]:
    """Every principal, oldest first."""
    return list(tx.execute(sa.select(principal).order_by(principal.c.created_at, principal.c.name)).mappings())


def insert_token(tx: Transaction, values: dict[str, Any]) -> None:
    """Add a token."""
    tx.execute(token.insert().values(values))


def token_with_digest(tx: Transaction, digest: str) -> sa.RowMapping | None:
    """The token's row, with the `roles` that its principal has now."""
    query = sa.select(token, principal.c.roles).join(principal).where(token.c.digest == digest)
    return tx.execute(query).mappings().one_or_none()


def all_tokens(tx: Transaction) -> list[sa.RowMapping]:
    """Every token, oldest first."""
    return list(tx.execute(sa.select(token).order_by(token.c.created_at, token.c.token_id)).mappings())


def live_tokens(tx: Transaction, now: datetime) -> list[sa.RowMapping]:
    """The tokens that are neither revoked nor expired, by digest, with the `roles` of their principals."""
    query = sa.select(token, principal.c.roles).join(principal).order_by(token.c.digest)
    return list(tx.execute(query.where(token.c.revoked_at.is_(None), token.c.expires_at > now)).mappings())


def revoke_token(tx: Transaction, token_id: str, at: datetime) -> bool:
    """Mark the token revoked, once; says whether there is such a token."""
    first = sa.func.coalesce(token.c.revoked_at, sa.bindparam("at", at, UtcTime))
    return tx.execute(token.update().where(token.c.token_id == token_id).values(revoked_at=first)).rowcount == 1


def insert_login(tx: Transaction, values: dict[str, Any]) -> None:
    """Add a one-time login."""
    tx.execute(login.insert().values(values))


def use_login(tx: Transaction, digest: str, now: datetime) -> bool:
    """Mark the login used; says whether this was the first use. A concurrent use waits and then fails."""
    statement = login.update().where(login.c.digest == digest, login.c.used_at.is_(None)).values(used_at=now)
    return tx.execute(statement).rowcount == 1


def login_with_digest(tx: Transaction, digest: str) -> sa.RowMapping | None:
    """The login's row, with the `roles` that its principal has now."""
    query = sa.select(login, principal.c.roles).join(principal).where(login.c.digest == digest)
    return tx.execute(query).mappings().one_or_none()
