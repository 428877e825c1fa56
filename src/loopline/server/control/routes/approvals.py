"""Approvals: what waits for one, and giving or refusing it."""

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody

from loopline.access.permissions import Permission
from loopline.gates import approval
from loopline.gates.approval import Approval
from loopline.loop import handling
from loopline.server.control.inputs import Because, Caller, Home

_ONE = "/projects/{project:str}/approvals/{approval_id:str}"


@get("/projects/{project:str}/approvals", permission=Permission.MODELS_READ, sync_to_thread=True)
def list_approvals(home: Home, project: FromPath[str], only_open: FromQuery[bool] = False) -> list[Approval]:  # noqa: FBT002 - a query parameter
    """What was asked for, and what became of it, oldest first."""
    with home.database.reading() as tx:
        return approval.find(tx, project, only_open=only_open)


@post(f"{_ONE}/approve", permission=Permission.MODELS_APPROVE, status_code=200, sync_to_thread=True)
def approve(
    home: Home, caller: Caller, project: FromPath[str], approval_id: FromPath[str], data: JSONBody[Because]
) -> Approval:
    """Give it: the version enters at the loop's next turn. Its authors may not, nor who lacks the declared role."""
    return handling.approve(home, caller, project=project, approval_id=approval_id, reason=data.reason)


@post(f"{_ONE}/reject", permission=Permission.MODELS_APPROVE, status_code=200, sync_to_thread=True)
def reject(
    home: Home, caller: Caller, project: FromPath[str], approval_id: FromPath[str], data: JSONBody[Because]
) -> Approval:
    """Refuse it for good, also where it was given and not yet used."""
    return handling.reject(home, caller, project=project, approval_id=approval_id, reason=data.reason)


HANDLERS = (list_approvals, approve, reject)
