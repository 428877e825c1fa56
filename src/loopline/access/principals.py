"""Principals: the people and services that act, and the roles they have."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, get_args

import msgspec
import sqlalchemy as sa

from loopline.access import store
from loopline.access.permissions import Permission
from loopline.access.roles import Role, permissions_of
from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.storage.database import Transaction
from loopline.values import utc

Kind = Literal["person", "service"]


class Principal(msgspec.Struct, frozen=True):
    """Someone who acts. `roles` are sorted; `created_at` is UTC."""

    name: str
    kind: Kind
    roles: tuple[Role, ...]
    created_at: datetime

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the roles permit."""
        return permissions_of(self.roles)


def create_principal(tx: Transaction, name: str, kind: Kind, roles: Iterable[str], at: datetime) -> Principal:
    """Add a principal.

    Raises `InvalidInput` for an empty name, an unknown kind or role, and `Conflict` "principal.exists" for a name taken.
    """
    if not name or name != name.strip() or kind not in get_args(Kind):
        raise InvalidInput(
            "principal.invalid",
            f"{name!r} of kind {kind!r} cannot be a principal",
            remedy='Give a name without spaces around it and the kind "person" or "service".',
        )
    made = Principal(name=name, kind=kind, roles=_read_roles(roles), created_at=utc(at))
    if not store.insert_principal(tx, msgspec.structs.asdict(made)):
        raise Conflict("principal.exists", f"there is a principal {name!r} already", remedy="Choose another name.")
    return made


def set_roles(tx: Transaction, name: str, roles: Iterable[str]) -> Principal:
    """Replace the principal's roles, for tokens issued before too; with none it may do nothing.

    Raises `NotFound` "principal.not_found" and `InvalidInput` "role.unknown".
    """
    store.set_roles(tx, name, list(_read_roles(roles)))
    return get_principal(tx, name)


def get_principal(tx: Transaction, name: str) -> Principal:
    """The principal of this name. Raises `NotFound` "principal.not_found"."""
    row = store.principal_named(tx, name)
    if row is None:
        raise NotFound(
            "principal.not_found", f"there is no principal {name!r}", remedy="Create it, or list who there is."
        )
    return _principal(row)


def principals(tx: Transaction) -> list[Principal]:
    """Every principal, oldest first."""
    return [_principal(row) for row in store.all_principals(tx)]


def _principal(row: sa.RowMapping) -> Principal:
    return Principal(**{**row, "roles": _read_roles(row["roles"])})


def _read_roles(names: Iterable[str]) -> tuple[Role, ...]:
    try:
        return tuple(sorted({Role(name) for name in names}))
    except ValueError as unknown:
        raise InvalidInput(
            "role.unknown", f"no such role: {unknown}", remedy=f"Choose among {', '.join(Role)}."
        ) from None
