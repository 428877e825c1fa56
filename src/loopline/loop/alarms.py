"""Alarms in the ledger: written in the transaction that raised them."""

from datetime import datetime

from loopline.ledger import chain
from loopline.monitoring.alarm import Alarm
from loopline.storage.database import Transaction


def record_alarm(tx: Transaction, alarm: Alarm, *, at: datetime) -> None:
    """The alarm's ledger entry, by the monitor that raised it. Once."""
    chain.append(
        tx,
        project=alarm.project,
        at=at,
        kind="alarm",
        actor=f"monitor:{alarm.monitor}",
        subject=alarm.id,
        body={"model": alarm.model, "kind": alarm.kind, "evidence": alarm.evidence},
        key=f"alarm:{alarm.id}",
    )
