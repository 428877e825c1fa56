"""Erase a person, see what that would remove, and the receipts of those who were."""

from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from loopline.access.permissions import Permission
from loopline.loop import erasing
from loopline.loop.erasing import Planned, Request
from loopline.loop.receipt import Receipt
from loopline.server.control.inputs import Because, Body, Caller, Home, Name, Reason

PATIENCE_SECONDS = 60.0

Subject = Annotated[str, msgspec.Meta(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]


class Whom(Body):
    """The person: the id as it stands in subject columns, and where it is to be looked for (None: in all of them)."""

    subject: Subject
    column: Name | None = None


class Order(Because, kw_only=True):
    """Whom to erase, and why. Tables in `keep` stay as they are, each for its reason."""

    subject: Subject
    column: Name | None = None
    keep: dict[Name, Reason] = msgspec.field(default_factory=dict)
    allow_return: bool = False


@post("/erasures/plan", permission=Permission.SUBJECTS_ERASE, status_code=200, sync_to_thread=True)
def plan_erasure(home: Home, caller: Caller, data: JSONBody[Whom]) -> Planned:
    """What an erasure would remove. Changes nothing."""
    request = Request(value=data.subject, column=data.column, reason="", actor=caller.principal)
    return erasing.plan_erasure(home, request)


@post("/erasures", permission=Permission.SUBJECTS_ERASE, status_code=200, sync_to_thread=True)
def erase(home: Home, caller: Caller, data: JSONBody[Order]) -> Receipt:
    """Erase a person from the whole home; gives the receipt. Asked again, it does what was left to do."""
    request = Request(
        value=data.subject,
        column=data.column,
        reason=data.reason,
        actor=caller.principal,
        keep=dict(data.keep),
        allow_return=data.allow_return,
    )
    return erasing.erase(home, request, patience=PATIENCE_SECONDS)


@get("/erasures", permission=Permission.SUBJECTS_ERASE, sync_to_thread=True)
def list_erasures(home: Home) -> list[Receipt]:
    """The receipts, oldest first."""
    return erasing.receipts(home)


@get("/erasures/{erasure:str}/receipt", permission=Permission.SUBJECTS_ERASE, sync_to_thread=True)
def read_receipt(home: Home, erasure: FromPath[str]) -> Response[bytes]:
    """The signed receipt: a DSSE envelope."""
    name = f'attachment; filename="{erasure}.json"'
    return Response(
        erasing.envelope_of(home, erasure), media_type="application/json", headers={"content-disposition": name}
    )


HANDLERS = (plan_erasure, erase, list_erasures, read_receipt)
