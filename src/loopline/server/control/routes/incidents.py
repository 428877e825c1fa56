"""Incidents, and what people do about them."""

from datetime import datetime

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody

from loopline.access.permissions import Permission
from loopline.incidents import attention, incident
from loopline.incidents.incident import Incident
from loopline.ledger.chain import Entry
from loopline.loop import handling
from loopline.server.control.inputs import Because, Body, Caller, Home, Name, Reason

_ONE = "/projects/{project:str}/incidents/{incident_id:str}"


class Snooze(Because):
    """Until when it rests; a time with its zone."""

    until: datetime


class Assignment(Because):
    """Who is to work on it."""

    to: Name


class Comment(Body):
    """What there is to say."""

    text: Reason


@get("/projects/{project:str}/incidents", permission=Permission.INCIDENTS_READ, sync_to_thread=True)
def list_incidents(home: Home, project: FromPath[str], only_open: FromQuery[bool] = False) -> list[Incident]:  # noqa: FBT002 - a query parameter
    """The project's incidents, oldest first."""
    with home.database.reading() as tx:
        return incident.find(tx, project, only_open=only_open)


@get(f"{_ONE}/history", permission=Permission.INCIDENTS_READ, sync_to_thread=True)
def read_history(home: Home, project: FromPath[str], incident_id: FromPath[str]) -> list[Entry]:
    """What was said and done about an incident, oldest first."""
    with home.database.reading() as tx:
        return attention.comments(tx, incident.get(tx, project, incident_id))


@post(f"{_ONE}/resolve", permission=Permission.INCIDENTS_ACT, status_code=200, sync_to_thread=True)
def resolve(
    home: Home, caller: Caller, project: FromPath[str], incident_id: FromPath[str], data: JSONBody[Because]
) -> Incident:
    """End an incident; gives it as it is then."""
    return handling.resolve_incident(
        home, project=project, incident_id=incident_id, actor=caller.principal, reason=data.reason
    )


@post(f"{_ONE}/ack", permission=Permission.INCIDENTS_ACT, status_code=200, sync_to_thread=True)
def acknowledge(
    home: Home, caller: Caller, project: FromPath[str], incident_id: FromPath[str], data: JSONBody[Because]
) -> Incident:
    """Say that you look after it: it escalates no more."""
    return handling.acknowledge(
        home, project=project, incident_id=incident_id, actor=caller.principal, reason=data.reason
    )


@post(f"{_ONE}/snooze", permission=Permission.INCIDENTS_ACT, status_code=200, sync_to_thread=True)
def snooze(
    home: Home, caller: Caller, project: FromPath[str], incident_id: FromPath[str], data: JSONBody[Snooze]
) -> Incident:
    """Let it rest until a time; if it is not over then, it is told again."""
    return handling.snooze(
        home, project=project, incident_id=incident_id, actor=caller.principal, until=data.until, reason=data.reason
    )


@post(f"{_ONE}/assign", permission=Permission.INCIDENTS_ACT, status_code=200, sync_to_thread=True)
def assign(
    home: Home, caller: Caller, project: FromPath[str], incident_id: FromPath[str], data: JSONBody[Assignment]
) -> Incident:
    """Give it to someone, who is told."""
    return handling.assign(
        home, project=project, incident_id=incident_id, actor=caller.principal, to=data.to, reason=data.reason
    )


@post(f"{_ONE}/escalate", permission=Permission.INCIDENTS_ACT, status_code=200, sync_to_thread=True)
def escalate(
    home: Home, caller: Caller, project: FromPath[str], incident_id: FromPath[str], data: JSONBody[Because]
) -> Incident:
    """Tell the next addressee now."""
    return handling.escalate(home, project=project, incident_id=incident_id, actor=caller.principal, reason=data.reason)


@post(f"{_ONE}/comment", permission=Permission.INCIDENTS_ACT, status_code=200, sync_to_thread=True)
def comment(
    home: Home, caller: Caller, project: FromPath[str], incident_id: FromPath[str], data: JSONBody[Comment]
) -> Incident:
    """Say something about it, also when it is over."""
    return handling.comment(home, project=project, incident_id=incident_id, actor=caller.principal, text=data.text)


HANDLERS = (list_incidents, read_history, resolve, acknowledge, snooze, assign, escalate, comment)
