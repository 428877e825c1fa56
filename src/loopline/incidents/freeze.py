"""`freeze` stops all automatic action of a project at once; scoring, logging and watching go on."""

from datetime import datetime

import msgspec

from loopline.incidents import store
from loopline.ledger import chain
from loopline.storage.database import Transaction, lock


class Freeze(msgspec.Struct, frozen=True):
    """Since when, by whom and why automatic action is stopped."""

    project: str
    since: datetime
    by: str
    reason: str


def freeze(tx: Transaction, *, project: str, by: str, reason: str, at: datetime) -> Freeze:
    """Stop automatic action. Freezing what is frozen keeps the first freeze."""
    lock(tx, "freeze", project)
    found = frozen(tx, project)
    if found:
        return found
    made = Freeze(project, at, by, reason)
    store.put_freeze(tx, msgspec.structs.asdict(made))
    _record(tx, "freeze", project, by, at, reason)
    return made


def unfreeze(tx: Transaction, *, project: str, by: str, reason: str, at: datetime) -> bool:
    """Allow automatic action again; says whether it was frozen."""
    if not store.remove_freeze(tx, project):
        return False
    _record(tx, "unfreeze", project, by, at, reason)
    return True


def frozen(tx: Transaction, project: str) -> Freeze | None:
    """The freeze in force, if any."""
    row = store.one_freeze(tx, project)
    return Freeze(**row) if row else None


def _record(tx: Transaction, kind: str, project: str, by: str, at: datetime, reason: str) -> None:
    chain.append(
        tx,
        project=project,
        at=at,
        kind=kind,
        actor=by,
        subject=project,
        body={"reason": reason},
        key=f"{kind}:{chain.head(tx, project).seq + 1}",  # two may come in one moment of a clock that stands
    )
