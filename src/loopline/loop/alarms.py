"""Alarms in the ledger: written in the transaction that raised them."""

from datetime import datetime

from loopline.incidents import incident
from loopline.ledger import chain
from loopline.monitoring.alarm import Alarm, read_alarm
from loopline.monitoring.alarm_kinds import MOVED
from loopline.storage.database import Transaction


def end_earlier_moves(tx: Transaction, alarm: Alarm, *, at: datetime) -> None:
    """Resolve the open incidents of earlier moves of the same figure: the level that they tell of is not its level any more."""
    if alarm.kind != MOVED:
        return
    for one in incident.find(tx, alarm.project, model=alarm.model, only_open=True):
        if one.kind == MOVED and any(read_alarm(tx, earlier).monitor == alarm.monitor for earlier in one.alarms):
            incident.resolve(tx, one, at=at, actor=f"monitor:{alarm.monitor}", sentence="It has moved again.")


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
