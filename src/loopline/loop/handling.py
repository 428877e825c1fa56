"""What people do about incidents and approvals, whichever door they come through: the terminal or the control plane."""

from datetime import datetime

from loopline.access.identity import Identity
from loopline.errors import NotFound
from loopline.gates import approval
from loopline.gates.approval import Approval
from loopline.incidents import attention, incident
from loopline.incidents.incident import Incident
from loopline.loop.owner import declared_people
from loopline.loop.release import declared_route
from loopline.loop.resources import Resources
from loopline.loop.status import projects
from loopline.storage.database import Transaction


def resolve_incident(resources: Resources, *, project: str, incident_id: str, actor: str, reason: str) -> Incident:
    """End an incident by a person's word. Raises `NotFound`, or `Conflict` where it is ended."""
    with resources.database.transaction() as tx:
        found = incident.get(tx, project, incident_id)
        incident.resolve(tx, found, at=resources.clock.now(), actor=actor, sentence=reason)
        return incident.get(tx, project, incident_id)


def acknowledge(resources: Resources, *, project: str, incident_id: str, actor: str, reason: str) -> Incident:
    """Raises as `attention.acknowledge`."""
    with resources.database.transaction() as tx:
        return attention.acknowledge(tx, project, incident_id, by=actor, reason=reason, at=resources.clock.now())


def snooze(
    resources: Resources, *, project: str, incident_id: str, until: datetime, actor: str, reason: str
) -> Incident:
    """Raises as `attention.snooze`."""
    with resources.database.transaction() as tx:
        now = resources.clock.now()
        return attention.snooze(tx, project, incident_id, until=until, by=actor, reason=reason, at=now)


def assign(resources: Resources, *, project: str, incident_id: str, to: str, actor: str, reason: str) -> Incident:
    """Raises as `attention.assign`."""
    with resources.database.transaction() as tx:
        people, now = declared_people(tx, project), resources.clock.now()
        return attention.assign(tx, project, incident_id, to=to, people=people, by=actor, reason=reason, at=now)


def escalate(resources: Resources, *, project: str, incident_id: str, actor: str, reason: str) -> Incident:
    """Raises as `attention.escalate`."""
    with resources.database.transaction() as tx:
        people, now = declared_people(tx, project), resources.clock.now()
        return attention.escalate(tx, project, incident_id, people=people, by=actor, reason=reason, at=now)


def comment(resources: Resources, *, project: str, incident_id: str, actor: str, text: str) -> Incident:
    """Raises as `attention.comment`."""
    with resources.database.transaction() as tx:
        return attention.comment(tx, project, incident_id, by=actor, text=text, at=resources.clock.now())


def approve(resources: Resources, who: Identity, *, project: str, approval_id: str, reason: str) -> Approval:
    """Give the approval; the version enters at the loop's next turn. Raises as `approval.approve`."""
    found = _current(resources, project, approval_id)
    with resources.database.transaction() as tx:
        route, now = declared_route(tx, project, found.model), resources.clock.now()
        lasts = route.approve.lasts if route.approve else found.expires_at - found.asked_at
        return approval.approve(tx, found, who, lasts=lasts, reason=reason, at=now)


def reject(resources: Resources, who: Identity, *, project: str, approval_id: str, reason: str) -> Approval:
    """Refuse it for good. Raises as `approval.reject`."""
    found = _current(resources, project, approval_id)
    with resources.database.transaction() as tx:
        return approval.reject(tx, found, who, reason=reason, at=resources.clock.now())


def project_of_incident(tx: Transaction, incident_id: str) -> str:
    """Whose incident it is. Raises `NotFound`."""
    for project in projects(tx):
        if any(one.id == incident_id for one in incident.find(tx, project)):
            return project
    raise NotFound(
        "incident.not_here", f"there is no incident {incident_id!r} here", remedy="`loopline incidents` lists them."
    )


def project_of_approval(tx: Transaction, approval_id: str) -> str:
    """Whose request it is. Raises `NotFound`."""
    for project in projects(tx):
        if any(one.id == approval_id for one in approval.find(tx, project)):
            return project
    raise NotFound(
        "approval.not_here", f"no approval {approval_id!r} is asked for here", remedy="`loopline approvals` lists them."
    )


def _current(resources: Resources, project: str, approval_id: str) -> Approval:
    """What is past its time is ended first, for good: a clock that is set back does not bring it back."""
    with resources.database.transaction() as tx:
        found = approval.get(tx, project, approval_id)
        approval.lapse(tx, project, found.model, resources.clock.now())
        return approval.get(tx, project, approval_id)
