"""What a loop declares of approvals: which environments ask for one, of whom, and how long it counts."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from loopline.access.permissions import Permission
from loopline.access.roles import ROLES, Role, roles_with
from loopline.errors import InvalidInput
from loopline.gates.environment import PRODUCTION
from loopline.values import duration


class ApprovalTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """Versions enter `environments` only when a person with `role` says so within `expires`; the word counts as long again.

    `to` is who is asked; the model's owner by default. A replay has no people: there the word is taken to come `assume`
    after it is asked for.
    """

    role: str
    environments: tuple[str, ...]
    expires: str = "7d"
    to: str = ""
    assume: str = "0s"

    @property
    def lasts(self) -> timedelta:
        """How long a request waits, and how long what was given counts."""
        return duration(self.expires)


def approval(
    *,
    role: str = "approver",
    expires: str = "7d",
    environments: Sequence[str] = (PRODUCTION,),
    to: str = "",
    assume: str = "0s",
) -> ApprovalTerms:
    """A person's word before a version enters `environments`. See `ApprovalTerms`.

    Raises `InvalidInput` for a role that may approve nothing, for no environment, and for durations that cannot be read.
    """
    able = roles_with(Permission.MODELS_APPROVE)
    if role not in set(Role) or Role(role) not in able:
        raise InvalidInput(
            "approval.role", f"the role {role!r} cannot approve", remedy=f"Roles that can: {', '.join(able)}."
        )
    if isinstance(environments, str) or not environments or not duration(expires):
        raise InvalidInput(
            "approval.never_asked",
            "an approval needs environments to be asked for, and time to be given in",
            remedy='Write e.g. environments=["production"], expires="7d".',
        )
    duration(assume)
    return ApprovalTerms(str(role), tuple(environments), expires, to, assume)


def may_approve(roles: Sequence[str], role: str) -> bool:
    """Whether someone with `roles` has the declared one, and it still permits to approve."""
    return role in roles and Permission.MODELS_APPROVE in ROLES[Role(role)]
