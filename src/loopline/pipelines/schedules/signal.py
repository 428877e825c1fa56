"""Signals: what happened that a trigger may wait for, kept until a scheduler has taken it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from loopline.pipelines.schedules import store
from loopline.storage.database import Transaction
from loopline.values import derive_id, utc

SignalKind = Literal["alarm", "webhook"]


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `subject` says to what: an alarm's kind and model, or a webhook's hook."""

    id: str
    project: str
    kind: SignalKind
    subject: dict[str, str]
    at: datetime
    taken_at: datetime | None = None


def announce(
    tx: Transaction, *, project: str, kind: SignalKind, key: str, subject: Mapping[str, str], at: datetime
) -> bool:
    """Let triggers know, in the transaction of what happened. Once for each `key`; says whether it is new."""
    made = Signal(
        id=derive_id("signal", 0, project, kind, key), project=project, kind=kind, subject=dict(subject), at=utc(at)
    )
    return store.add_signal(tx, msgspec.structs.asdict(made))


def waiting(tx: Transaction, project: str, *, limit: int = 100) -> list[Signal]:
    """Those no scheduler has taken, oldest first."""
    return [Signal(**row) for row in store.signals(tx, project, limit=limit)]
