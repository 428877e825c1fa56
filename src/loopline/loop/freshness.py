"""Freshness: a source whose newest row is older than promised has a data fault, until it is fresh again. It pages nobody."""

from datetime import datetime
from typing import Any

import structlog

from loopline.incidents import attention, incident
from loopline.incidents.incident import Incident
from loopline.incidents.people import People
from loopline.loop import store
from loopline.loop.alarms import record_alarm
from loopline.loop.declare import Loop
from loopline.loop.resources import Resources
from loopline.loop.source import Source
from loopline.monitoring.alarm import Alarm, new_alarm, raise_alarm, take_alarm
from loopline.monitoring.alarm_kinds import DATA_FAULT
from loopline.storage.database import Transaction
from loopline.tables.tables import Tables
from loopline.values import duration, duration_text

log = structlog.get_logger(__name__)

MONITOR = "freshness"


def watch_freshness(resources: Resources, loop: Loop, at: datetime, *, tells: bool = False) -> list[Alarm]:
    """Compare each source that promises freshness with what it had given by `at`; gives the alarms of those that broke it.

    The incident's subject is the source's table; it begins once and ends when a row is fresh again. With `tells` its owner, if
    it has one, is told. A source that never gave a
    row is as old as the first window it was asked for.
    """
    promising = [source for source in loop.sources.values() if source.freshness is not None]
    found = [_watch(resources, loop, source, at, tells=tells) for source in promising]
    return [alarm for alarm in found if alarm is not None]


def _watch(resources: Resources, loop: Loop, source: Source, at: datetime, *, tells: bool) -> Alarm | None:
    project = loop.name
    newest = newest_known(resources.tables, source.table, at)
    with resources.database.reading() as tx:
        since = newest or store.ingested_since(tx, source.table)
        broken = bool(_open_faults(tx, project, source))
    late = since is not None and at - since > duration(source.freshness or "0s")
    if since is None or late == broken:  # what is as it was takes no writing transaction
        return None
    with resources.database.transaction() as tx:
        if late:
            people = loop.people if tells else None
            return _raise(tx, loop, source, since=since, newest=newest, at=at, people=people)
        _end(tx, project, source, at)
    return None


def newest_known(tables: Tables, name: str, until: datetime | None = None) -> datetime | None:
    """When the newest row that the table held by `until` became known; None where it holds none."""
    if not tables.exists(name):
        return None
    table = tables.open(name)
    spans = [file.known for file in table.plan(known_until=until)]
    greatest = [span[1] for span in spans if span is not None]
    if len(greatest) == len(spans) and all(until is None or moment <= until for moment in greatest):
        return max(greatest, default=None)
    found: datetime | None = table.read(known_until=until, columns=["_known_at"])["_known_at"].max()  # type: ignore[assignment]
    return found


def _raise(
    tx: Transaction,
    loop: Loop,
    source: Source,
    *,
    since: datetime,
    newest: datetime | None,
    at: datetime,
    people: People | None,
) -> Alarm | None:
    """The alarm, if it is new. Its block is from the last fresh row to the moment that broke the promise."""
    sentence = _sentence(source, newest, at)
    owner = source.owner or loop.people.owner
    alarm = new_alarm(
        project=loop.name,
        model=source.table,
        monitor=MONITOR,
        kind=DATA_FAULT,
        at=at,
        block_start=since,
        block_end=since + duration(source.freshness or "0s"),
        evidence={"faults": [_fault(source, newest, sentence)]},
        page=False,
    )
    if not raise_alarm(tx, alarm):
        return None
    record_alarm(tx, alarm, at=at)
    take_alarm(tx, alarm.id)
    found, new = incident.open_or_join(
        tx,
        project=loop.name,
        model=source.table,
        kind=DATA_FAULT,
        alarm=alarm.id,
        at=at,
        sentence=sentence,
        diagnosis=[_fault(source, newest, sentence)],
        severity="warning",
        owner=owner,
    )
    if new and people is not None:
        incident.announce(tx, found, at)
    if new and owner and people is not None:
        attention.tell(tx, found, people, at)
    log.warning("source_stale", project=loop.name, source=source.table, text=sentence)
    return alarm


def _fault(source: Source, newest: datetime | None, sentence: str) -> dict[str, Any]:
    told = newest.isoformat() if newest else None
    return {
        "kind": "stale",
        "source": source.table,
        "newest": told,
        "freshness": source.freshness,
        "sentence": sentence,
    }


def _sentence(source: Source, newest: datetime | None, at: datetime) -> str:
    if newest is None:
        return f"{source.table} gave no row yet; it is to be fresh within {source.freshness}."
    age = duration_text(at - newest)
    return f"The newest row of {source.table} is {age} old ({newest:%Y-%m-%d %H:%M} UTC); it is to be fresh within {source.freshness}."


def _end(tx: Transaction, project: str, source: Source, at: datetime) -> None:
    for found in _open_faults(tx, project, source):
        incident.resolve(tx, found, at=at, actor=f"monitor:{MONITOR}", sentence=f"{source.table} is fresh again.")


def _open_faults(tx: Transaction, project: str, source: Source) -> list[Incident]:
    found = incident.find(tx, project, model=source.table, only_open=True)
    return [one for one in found if one.kind == DATA_FAULT]
