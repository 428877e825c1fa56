"""Gathering: the same thing many times is one message with a count.

The first time is told at once (or after quiet hours). What comes again within the next hour, or while the last hour's is still
coming, is counted in one message that is told when the hour ends.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from loopline.incidents import outbox, store
from loopline.incidents.calendar import Span
from loopline.incidents.outbox import Notification, Severity
from loopline.storage.database import Transaction, lock
from loopline.values import EPOCH, derive_id, utc

EVERY = timedelta(hours=1)


def gather(
    tx: Transaction,
    *,
    project: str,
    group: str,
    key: str,
    to: str,
    severity: Severity,
    message: Mapping[str, Any],
    at: datetime,
    quiet: Sequence[Span] = (),
    every: timedelta = EVERY,
) -> Notification:
    """Have `message` told as one of a `group`, in the caller's transaction; gives the notification that counts it.

    `key` names what happened: told twice, it is counted once. What is critical breaks through quiet hours and is gathered
    apart from what is not.
    """
    lock(tx, "outbox", project)
    named = f"{group}\x1f{to}\x1f{severity}"
    waiting = [one for one in outbox.waiting(tx, project) if one.message.get("group") == named]
    counting = next((one for one in waiting if not one.attempts and one.due_at > utc(at)), None)
    if counting is not None:
        return _counted(tx, counting, message, key)
    slot = (utc(at) - EPOCH) // every
    lately = any(
        _there(tx, project, _key(named, place, part)) for place in (slot, slot - 1) for part in ("first", "rest")
    )
    part = "rest" if lately else "first"
    while _there(tx, project, _key(named, slot, part)):  # told already, by a clock that was ahead
        slot, part = slot + 1, "rest"
    told = {**message, "group": named, "count": 1, "keys": [key], "since": utc(at).isoformat()}
    return outbox.put(
        tx,
        project=project,
        key=_key(named, slot, part),
        to=to,
        severity=severity,
        message=told,
        at=at,
        quiet=quiet,
        not_before=EPOCH + (slot + 1) * every if part == "rest" else None,
    )


def _counted(tx: Transaction, one: Notification, message: Mapping[str, Any], key: str) -> Notification:
    """With one more, unless it was counted: the latest text, and how often since when."""
    if key in one.message["keys"]:
        return one
    count, since = one.message["count"] + 1, one.message["since"]
    kept = [*one.message["keys"], key][-100:]
    text = f"{message.get('text', message.get('event', ''))} ({count} times since {since[:16].replace('T', ' ')} UTC)"
    told = {**message, "group": one.message["group"], "count": count, "keys": kept, "since": since, "text": text}
    store.change_notification(tx, one.id, {"message": told})
    return msgspec.structs.replace(one, message=told)


def _key(named: str, slot: int, part: str) -> str:
    return f"group:{named}:{slot}:{part}"


def _there(tx: Transaction, project: str, key: str) -> bool:
    return store.one_notification(tx, derive_id("note", 0, project, key)) is not None
