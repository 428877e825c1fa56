"""Principals: who there is, and someone new."""

from litestar import get, post
from litestar.params import JSONBody

from loopline.access import principals
from loopline.access.permissions import Permission
from loopline.access.principals import Kind, Principal
from loopline.loop import access_changes
from loopline.server.control.inputs import Body, Caller, Home, MachineClock, Name


class NewPrincipal(Body):
    """Someone who is to act here, and as what."""

    name: Name
    kind: Kind
    roles: list[Name]


@get("/principals", permission=Permission.TOKENS_MANAGE, sync_to_thread=True)
def list_principals(home: Home) -> list[Principal]:
    """Every principal, oldest first."""
    with home.database.reading() as tx:
        return principals.principals(tx)


@post("/principals", permission=Permission.TOKENS_MANAGE, sync_to_thread=True)
def create_principal(
    home: Home, caller: Caller, machine_clock: MachineClock, data: JSONBody[NewPrincipal]
) -> Principal:
    """Add a principal; its roles permit at most what the caller's token does."""
    return access_changes.create_principal(
        home, caller, name=data.name, kind=data.kind, roles=data.roles, at=machine_clock.now()
    )


HANDLERS = (list_principals, create_principal)
