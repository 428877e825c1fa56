"""Notices in operation: what the playbook tells, and sending what the outbox holds."""

from datetime import datetime

import structlog

from loopline.incidents import attention, outbox
from loopline.incidents.actions import Cause, Outcome
from loopline.loop import store
from loopline.loop.lane import Lane
from loopline.loop.owner import declared_people
from loopline.loop.resources import Resources
from loopline.storage.database import Transaction

log = structlog.get_logger(__name__)


def tell_owner(tx: Transaction, lane: Lane, cause: Cause) -> Outcome:
    """The action `notify`: the model's owner is told why the playbook says so. A replay tells nobody."""
    if not lane.replayed:
        message = {"event": "notify", "model": lane.model, "text": cause.sentence, "at": cause.at.isoformat()}
        outbox.put(
            tx,
            project=lane.project,
            key=f"notify:{cause.key}",
            to=lane.owner,
            severity="warning",
            message=message,
            at=cause.at,
            quiet=lane.people.quiet,
        )
    return Outcome(changed=False, sentence="People were told.")


def attend(resources: Resources, at: datetime) -> None:
    """End snoozes and escalate what nobody acknowledged, for every loop of this home, and send what is due of every project."""
    with resources.database.reading() as tx:
        loops, telling = store.applied_loops(tx), outbox.projects(tx)
    for project in loops:
        with resources.database.reading() as tx:
            people = declared_people(tx, project)
            due = attention.due(tx, project, at)
        if due:
            with resources.database.transaction() as tx:
                attention.attend(tx, project, people, at)
    for project in sorted({*loops, *telling}):
        deliver(resources, project, at)


def deliver(resources: Resources, project: str, at: datetime) -> int:
    """Send what is due, noting after each what took it; gives how many were told in full.

    What waited for quiet hours to end is folded into a digest first.
    """
    with resources.database.reading() as tx:
        due = outbox.due(tx, project, at)
    if any(one.held and not one.attempts for one in due):
        with resources.database.transaction() as tx:
            outbox.fold(tx, project, at)
        with resources.database.reading() as tx:
            due = outbox.due(tx, project, at)
    return sum(_send(resources, one, at) for one in due)


def _send(resources: Resources, one: outbox.Notification, at: datetime) -> bool:
    """Telling comes before noting: who dies in between has it told twice, never not at all."""
    with resources.database.transaction() as tx:
        taken = outbox.take(tx, one, at)
    if taken is None:
        return False
    sent, whole = resources.channels.send(taken.content, already=taken.sent)
    with resources.database.transaction() as tx:
        given_up = outbox.note(tx, taken, sent=sent, whole=whole, at=at)
    if given_up:
        log.error("notification_given_up", notification=one.id, project=one.project, attempts=taken.attempts)
    return whole
