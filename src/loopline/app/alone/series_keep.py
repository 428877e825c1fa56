"""A series in a home: each value counts exactly once, moves become incidents, and people are told."""

from datetime import datetime
from pathlib import Path

import msgspec

from loopline.app.alone.keep import check_name
from loopline.app.alone.series import Move, SeriesRecord, WatchedSeries, watch_series_file
from loopline.app.alone.series_file import SeriesRequest
from loopline.app.alone.shares import FOLDER
from loopline.app.home import open_home
from loopline.config import Settings
from loopline.errors import Conflict, Corrupt
from loopline.incidents import attention, incident
from loopline.incidents.people import People
from loopline.loop import store as loops
from loopline.loop.alarms import record_alarm
from loopline.loop.notices import deliver
from loopline.loop.resources import Resources
from loopline.monitoring.alarm import Alarm, new_alarm, raise_alarm, take_alarm
from loopline.monitoring.alarm_kinds import MOVED
from loopline.storage.database import Transaction
from loopline.storage.files import write_file
from loopline.values import from_micros


def watch_series_in_home(home: Path, request: SeriesRequest) -> WatchedSeries:
    """Watch on from where the last run in this home ended, or begin there.

    Alarms and incidents commit first, then what is known is kept: a run that was killed between finds the same moves again, and raises none twice.
    Raises as `watch_series_file`, `InvalidInput` for a name that is none, `Conflict` where the name is a loop's or stands for another series, and `Corrupt`
    where what was kept cannot be read.
    """
    check_name(request.name)
    settings = Settings.read(home)
    resources = open_home(settings)
    place = settings.home / FOLDER / f"{request.name}.series.json"
    with resources.database.reading() as tx:
        if request.name in loops.applied_loops(tx):
            raise Conflict(
                "alone.name_taken",
                f"a loop of this home is called {request.name!r}",
                remedy="Give the series another --name.",
            )
    with resources.activity.shared():
        kept = _kept(place, request)
        watched = watch_series_file(request, kept)
        if watched.series.timed:
            _count(resources, request.name, watched)
            write_file(place, msgspec.json.encode(watched.record), durable=settings.durable)
    deliver(resources, request.name, resources.clock.now())
    return watched


def _kept(place: Path, request: SeriesRequest) -> SeriesRecord | None:
    if not place.is_file():
        return None
    try:
        kept = msgspec.json.decode(place.read_bytes(), type=SeriesRecord)
    except (OSError, msgspec.DecodeError) as error:
        raise Corrupt(
            "alone.record_lost",
            f"what was kept of {request.name} cannot be read: {place}",
            remedy="Restore it from a backup, or begin anew under another --name.",
        ) from error
    if (kept.column, kept.block) != (request.column, request.block):
        raise Conflict(
            "alone.other_series",
            f"{request.name!r} watches {kept.column!r}{f' in blocks of {kept.block}' if kept.block else ''} already",
            remedy="Give this series another --name.",
        )
    return kept


def _count(resources: Resources, name: str, watched: WatchedSeries) -> None:
    now = resources.clock.now()
    fresh = watched.answer.moves[len(watched.answer.moves) - watched.answer.found :]
    with resources.database.transaction() as tx:
        for move in fresh:
            alarm = new_alarm(
                project=name,
                model=name,
                monitor=f"change:{watched.answer.column}",
                kind=MOVED,
                at=now,
                block_start=from_micros(move.moved.onset),
                block_end=from_micros(move.moved.seen),
                evidence=_evidence(move),
                page=True,
            )
            if raise_alarm(tx, alarm):
                record_alarm(tx, alarm, at=now)
                _open(tx, alarm, move.sentence, now)


def _open(tx: Transaction, alarm: Alarm, sentence: str, now: datetime) -> None:
    """An incident of its own for each move: the level that an earlier one told of is not the level any more."""
    take_alarm(tx, alarm.id)
    for one in incident.find(tx, alarm.project, model=alarm.model, only_open=True):
        if one.kind == MOVED:
            incident.resolve(tx, one, at=now, actor=f"monitor:{alarm.monitor}", sentence="It has moved again.")
    found, new = incident.open_or_join(
        tx,
        project=alarm.project,
        model=alarm.model,
        kind=MOVED,
        alarm=alarm.id,
        at=now,
        sentence=sentence,
        diagnosis=(),
        severity="critical",
    )
    if new:
        attention.tell(tx, found, People(), now)


def _evidence(move: Move) -> dict[str, object]:
    return {"sentence": move.sentence, **msgspec.to_builtins(move.moved)}
