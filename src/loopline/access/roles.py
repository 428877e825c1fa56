"""Roles: named sets of permissions. Who runs the loop does not decide what is promoted, and the other way round."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

from loopline.access.permissions import Permission


class Role(StrEnum):
    """What a principal is here for."""

    VIEWER = "viewer"
    SCORER = "scorer"
    PUSHER = "pusher"
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    PRIVACY = "privacy"
    ADMIN = "admin"


_VIEW = frozenset(permission for permission in Permission if permission.endswith(":read"))

ROLES: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.VIEWER: _VIEW,
        Role.SCORER: frozenset({Permission.PREDICTIONS_CREATE, Permission.LABELS_WRITE}),
        Role.PUSHER: frozenset({Permission.SOURCES_PUSH}),
        Role.REVIEWER: frozenset({Permission.REVIEWS_READ, Permission.REVIEWS_ANSWER}),
        Role.OPERATOR: _VIEW | {Permission.INCIDENTS_ACT, Permission.LOOP_APPLY, Permission.LOOP_FREEZE},
        Role.PRIVACY: _VIEW | {Permission.PERSONAL_SHOW, Permission.SUBJECTS_ERASE},
        Role.APPROVER: _VIEW | {Permission.MODELS_PROMOTE, Permission.MODELS_APPROVE, Permission.LOOP_FREEZE},
        Role.ADMIN: frozenset(Permission),
    }
)


def permissions_of(roles: Iterable[Role]) -> frozenset[Permission]:
    """Everything that at least one of the roles permits."""
    return frozenset().union(*(ROLES[role] for role in roles))


def roles_with(permission: Permission) -> list[Role]:
    """The roles that permit this, the smallest first."""
    return sorted((role for role in Role if permission in ROLES[role]), key=lambda role: len(ROLES[role]))
