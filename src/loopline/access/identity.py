"""Who is asking, once authenticated, and whether they may."""

import msgspec

from loopline.access.permissions import Permission
from loopline.access.roles import roles_with
from loopline.errors import NotPermitted


class Identity(msgspec.Struct, frozen=True):
    """An authenticated principal (by name) and what it may do with this token."""

    principal: str
    permissions: frozenset[Permission]
    token_id: str


def require(identity: Identity, permission: Permission) -> None:
    """Raise `NotPermitted` "access.not_permitted" unless the identity has the permission."""
    if permission in identity.permissions:
        return
    roles = roles_with(permission)
    raise NotPermitted(
        "access.not_permitted",
        f"{identity.principal!r} needs the permission {str(permission)!r}",
        remedy=f"Roles that have it: {', '.join(roles)}. A token may be narrower than its principal's roles.",
        permission=str(permission),
        roles=[str(role) for role in roles],
    )
