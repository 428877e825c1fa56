"""The outbox: what people are to be told, written in the transaction of what it tells of, sent afterwards.

Any number of processes may send: each takes a notification before it does. Whoever dies between taking and noting it, another sends again:
each notification is told at least once, always under the same id, so that a receiver can drop what it has. What is not critical waits for the end of quiet hours, and what waited is told
as one digest.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from loopline.incidents import store
from loopline.incidents.calendar import Span, first_covering
from loopline.storage.database import Transaction, lock
from loopline.values import derive_id, utc

Severity = Literal["info", "warning", "critical"]

FIRST_RETRY = timedelta(seconds=30)
LONGEST_RETRY = timedelta(hours=1)
GIVEN_UP_AFTER = timedelta(days=3)
MANY = 20  # a process that slept for days still tries


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell `to` (an owner's name; empty for whoever listens), not before `due_at`.

    `held` says that it waits for the end of quiet hours; `sent` names the channels that took it; `done_at` is when all had,
    or when it was folded into a digest, or given up.
    """

    id: str
    project: str
    to: str
    severity: Severity
    message: dict[str, Any]
    created_at: datetime
    due_at: datetime
    held: bool = False
    attempts: int = 0
    sent: tuple[str, ...] = ()
    done_at: datetime | None = None

    @property
    def content(self) -> dict[str, Any]:
        """What channels send."""
        return {**self.message, "id": self.id, "project": self.project, "to": self.to, "severity": self.severity}


def put(
    tx: Transaction,
    *,
    project: str,
    key: str,
    to: str,
    severity: Severity,
    message: Mapping[str, Any],
    at: datetime,
    quiet: Sequence[Span] = (),
    not_before: datetime | None = None,
) -> Notification:
    """Have `message` told, in the caller's transaction. Once for each `key`: a second time changes nothing."""
    earliest = max(utc(at), utc(not_before or at))
    resting = None if severity == "critical" else first_covering(quiet, earliest)
    made = Notification(
        id=derive_id("note", 0, project, key),
        project=project,
        to=to,
        severity=severity,
        message=dict(message),
        created_at=utc(at),
        due_at=resting[1] if resting else earliest,
        held=resting is not None,
    )
    store.add_notification(tx, msgspec.structs.asdict(made))
    return made


def due(tx: Transaction, project: str, at: datetime, *, limit: int = 50) -> list[Notification]:
    """What is to be told by now and was not, oldest first."""
    return [_read(row) for row in store.notifications(tx, project, due=utc(at), limit=limit)]


def waiting(tx: Transaction, project: str) -> list[Notification]:
    """All that is still to be told, oldest first."""
    return [_read(row) for row in store.notifications(tx, project)]


def _read(row: dict[str, Any]) -> Notification:
    return Notification(**row | {"sent": tuple(row["sent"])})


def fold(tx: Transaction, project: str, at: datetime) -> list[Notification]:
    """Make one digest of what waited for quiet hours to end, for each addressee that has several; gives the digests."""
    lock(tx, "outbox", project)
    by_addressee: dict[str, list[Notification]] = {}
    for one in due(tx, project, at, limit=1000):
        if one.held and not one.attempts:
            by_addressee.setdefault(one.to, []).append(one)
    return [_digest(tx, to, parts, at) for to, parts in sorted(by_addressee.items()) if len(parts) > 1]


def _digest(tx: Transaction, to: str, parts: list[Notification], at: datetime) -> Notification:
    worst: Severity = "warning" if any(one.severity == "warning" for one in parts) else "info"
    texts = [str(one.message.get("text", one.message.get("event", ""))) for one in parts]
    message = {
        "event": "digest",
        "at": utc(at).isoformat(),
        "text": f"{len(parts)} notifications waited for quiet hours to end: " + " | ".join(texts),
        "notifications": [one.content for one in parts],
    }
    for one in parts:
        store.change_notification(tx, one.id, {"done_at": utc(at)})
    key = "digest:" + ",".join(one.id for one in parts)
    return put(tx, project=parts[0].project, key=key, to=to, severity=worst, message=message, at=at)


def take(tx: Transaction, one: Notification, at: datetime) -> Notification | None:
    """Begin to tell it: until it is noted it is due again later, ever later the more attempts there were. None where another took it."""
    attempts = one.attempts + 1
    wait = min(FIRST_RETRY * 2 ** min(attempts - 1, 10), LONGEST_RETRY)
    if not store.take_notification(tx, one.id, one.attempts, utc(at), utc(at) + wait):
        return None
    return msgspec.structs.replace(one, attempts=attempts, due_at=utc(at) + wait)


def note(tx: Transaction, told: Notification, *, sent: Iterable[str], whole: bool, at: datetime) -> bool:
    """Keep which channels took what was taken. What not all did is told again, and given up after three days; says whether it was."""
    given_up = not whole and told.attempts > MANY and utc(at) - told.created_at >= GIVEN_UP_AFTER
    ends = {"done_at": utc(at)} if whole or given_up else {}
    store.change_notification(tx, told.id, {"sent": sorted(sent), **ends})
    return given_up


def projects(tx: Transaction) -> list[str]:
    """The projects that have something to tell."""
    return store.notifying_projects(tx)
