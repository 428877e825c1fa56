"""Stop all automatic action of a project, and allow it again."""

import msgspec
from litestar import post
from litestar.params import FromPath, JSONBody

from loopline.access.permissions import Permission
from loopline.incidents.freeze import Freeze
from loopline.loop import changes
from loopline.server.control.inputs import Because, Caller, Home


class Unfrozen(msgspec.Struct, frozen=True):
    """Whether automatic action was stopped before."""

    was_frozen: bool


@post("/projects/{project:str}/freeze", permission=Permission.LOOP_FREEZE, status_code=200, sync_to_thread=True)
def freeze(home: Home, caller: Caller, project: FromPath[str], data: JSONBody[Because]) -> Freeze:
    """Stop automatic action; what is frozen already stays as it was frozen."""
    return changes.freeze(home, project=project, actor=caller.principal, reason=data.reason)


@post("/projects/{project:str}/unfreeze", permission=Permission.LOOP_FREEZE, status_code=200, sync_to_thread=True)
def unfreeze(home: Home, caller: Caller, project: FromPath[str], data: JSONBody[Because]) -> Unfrozen:
    """Allow automatic action again."""
    return Unfrozen(changes.unfreeze(home, project=project, actor=caller.principal, reason=data.reason))


HANDLERS = (freeze, unfreeze)
