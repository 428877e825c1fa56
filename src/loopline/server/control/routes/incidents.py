"""Incidents, and ending one by a person's word."""

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody

from loopline.access.permissions import Permission
from loopline.incidents import incident
from loopline.incidents.incident import Incident
from loopline.loop import handling
from loopline.server.control.inputs import Because, Caller, Home


@get("/projects/{project:str}/incidents", permission=Permission.INCIDENTS_READ, sync_to_thread=True)
def list_incidents(home: Home, project: FromPath[str], only_open: FromQuery[bool] = False) -> list[Incident]:  # noqa: FBT002 - a query parameter
    """The project's incidents, oldest first."""
    with home.database.reading() as tx:
        return incident.find(tx, project, only_open=only_open)


@post(
    "/projects/{project:str}/incidents/{incident_id:str}/resolve",
    permission=Permission.INCIDENTS_ACT,
    status_code=200,
    sync_to_thread=True,
)
def resolve(
    home: Home, caller: Caller, project: FromPath[str], incident_id: FromPath[str], data: JSONBody[Because]
) -> Incident:
    """End an incident; gives it as it is then."""
    handling.resolve_incident(
        home, project=project, incident_id=incident_id, actor=caller.principal, reason=data.reason
    )
    with home.database.reading() as tx:
        return incident.get(tx, project, incident_id)


HANDLERS = (list_incidents, resolve)
