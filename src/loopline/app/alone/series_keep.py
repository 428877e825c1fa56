"""A series in a home: each value counts exactly once, moves become incidents, and people are told."""

from datetime import datetime
from pathlib import Path

from loopline.app.alone.keep import check_name
from loopline.app.alone.series import SeriesRecord, WatchedSeries, watch_series_file
from loopline.app.alone.series_file import SeriesRequest
from loopline.app.home import open_home
from loopline.config import Settings
from loopline.errors import Conflict, InvalidInput
from loopline.incidents import attention, incident
from loopline.incidents.people import People
from loopline.loop import store as loops
from loopline.loop.alarms import end_earlier_moves, record_alarm
from loopline.loop.notices import deliver
from loopline.loop.resources import Resources
from loopline.monitoring import watch
from loopline.monitoring.alarm import Alarm, raise_alarm, take_alarm
from loopline.monitoring.alarm_kinds import MOVED
from loopline.monitoring.change_watch import keep_series, move_alarm, moves_of, series_of
from loopline.monitoring.risk import CHANGE, YEAR, Reference, Risk
from loopline.storage.database import Transaction
from loopline.values import MICROSECOND, duration, from_micros, micros


def watch_series_in_home(home: Path, request: SeriesRequest) -> WatchedSeries:
    """Watch on from where the last run in this home ended, or begin there.

    What is known, until when values were counted, alarms, incidents and what people are to be told commit together; what is to be told is sent
    afterwards. Raises as `watch_series_file`, `InvalidInput` for a name that is none or values without times, and `Conflict` where the
    name is a loop's or a model's, stands for another series, or another run counted in the meantime.
    """
    check_name(request.name)
    resources = open_home(Settings.read(home))
    with resources.activity.shared():
        kept = _kept(resources, request)
        watched = watch_series_file(request, kept)
        if not watched.series.timed:
            raise InvalidInput(
                "alone.series_no_times",
                "without times it cannot be told which values were counted already",
                remedy="Give a column of times (--at), or watch without --home.",
            )
        _count(resources, request, watched, kept)
    deliver(resources, request.name, resources.clock.now())
    return watched


def _kept(resources: Resources, request: SeriesRequest) -> SeriesRecord | None:
    name, monitor = request.name, CHANGE + request.column
    with resources.database.reading() as tx:
        others = [one.name for one in watch.list_monitors(tx, name) if one.name != monitor]
        if name in loops.applied_loops(tx) or others:
            raise Conflict(
                "alone.series_name_taken",
                f"{', '.join(others) or 'a loop'} of this home has the name {name!r}",
                remedy="Give the series another --name.",
            )
        found = watch.find_monitor(tx, name, name, monitor)
        if found is None:
            return None
        if request.block and request.block != found.spec.block:
            raise Conflict(
                "alone.other_series",
                f"{name!r} is watched in blocks of {found.spec.block}",
                remedy="Go on with these, or give the series another --name.",
            )
        series = series_of(found)
        return SeriesRecord(found.spec.threshold, series, micros(found.watermark), moves_of(tx, found))


def _count(resources: Resources, request: SeriesRequest, watched: WatchedSeries, kept: SeriesRecord | None) -> None:
    now, name, record = resources.clock.now(), request.name, watched.record
    scope = {"project": name, "model": name, "name": CHANGE + request.column}
    with resources.database.transaction() as tx:
        if kept is None:
            spec = _spec(request, watched)
            begin = from_micros(int(watched.series.at[0])) - 2 * duration(spec.block)
            watch.start_monitor(tx, **scope, spec=spec, reference=Reference(0.0, 0.0, 0.0, 0), watermark=begin, at=now)
        monitor = watch.lock_monitor(tx, **scope)
        if series_of(monitor) != (kept.state if kept else series_of(monitor)):
            raise Conflict(
                "alone.counted_meanwhile", f"another run counted values of {name!r} meanwhile", remedy="Run it again."
            )
        keep_series(tx, monitor, record.state, from_micros(record.watermark or 0))
        for move in watched.answer.moves[len(watched.answer.moves) - watched.answer.found :]:
            end = from_micros(move.moved.seen)
            alarm = move_alarm(monitor, move.moved, move.sentence, at=now, end=end, page=True)
            if raise_alarm(tx, alarm):
                record_alarm(tx, alarm, at=now)
                _open(tx, alarm, move.sentence, now)


def _spec(request: SeriesRequest, watched: WatchedSeries) -> Risk:
    """As a monitor of a loop has it: values are blocks, whose length is the middle distance of two values where none was said."""
    apart = (
        round(YEAR / MICROSECOND / watched.a_year / 1e6) if watched.a_year else round(duration("1d").total_seconds())
    )
    block = request.block or f"{max(apart, 1)}s"
    blocks = YEAR / duration(block)
    return Risk(CHANGE + request.column, 1.0, block, blocks / watched.record.values_apart, "none", 1)


def _open(tx: Transaction, alarm: Alarm, sentence: str, now: datetime) -> None:
    """An incident of its own for each move: the level that an earlier one told of is not the level any more."""
    take_alarm(tx, alarm.id)
    end_earlier_moves(tx, alarm, at=now)
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
