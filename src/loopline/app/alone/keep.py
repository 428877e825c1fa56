"""A watched model in a home: each block counts exactly once, alarms become incidents, and people are told."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from loopline.app.alone.again import Kept, study_again
from loopline.app.alone.reference_rows import keep_reference
from loopline.app.alone.shares import FOLDER
from loopline.app.alone.watch import Progress, answers, as_record, open_files, rows_of, steps_of
from loopline.app.alone.why import BY_ITSELF
from loopline.app.home import open_home
from loopline.app.study.answers import HARM as HARMED
from loopline.app.study.answers import Setup, Watched
from loopline.app.study.columns import Columns, Said
from loopline.app.study.fresh import Request, study_afresh
from loopline.app.study.measure import summaries
from loopline.config import Settings
from loopline.errors import Conflict, Corrupt, InvalidInput
from loopline.incidents import attention, incident
from loopline.incidents.people import People
from loopline.loop import store as loops
from loopline.loop.alarms import record_alarm
from loopline.loop.notices import deliver
from loopline.loop.resources import Resources
from loopline.monitoring import watch
from loopline.monitoring.alarm import Alarm, list_alarms, new_alarm, raise_alarm, sentence_of, take_alarm
from loopline.monitoring.alarm_kinds import HARM
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.performance import read_performance
from loopline.storage.database import Transaction
from loopline.storage.files import write_file
from loopline.storage.scratch import scratch_folder
from loopline.values import from_micros, micros

MONITOR = "harm"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
_CAUSES = 8


class Record(msgspec.Struct, frozen=True):
    """What is kept of the first run: how it was set up, and the reference's blocks as (start, end] in microseconds."""

    setup: Setup
    cut: list[tuple[int, int]]


def watch_in_home(home: Path, request: Request, progress: Progress) -> Watched:
    """Watch on from where the last run in this home ended, or begin there.

    The monitor's state and watermark, performance, alarms, incidents and what people are to be told commit together; what is
    to be told is sent afterwards. Raises as `watch_files`, and `InvalidInput` for a name that is none or rows without times,
    `Conflict` where a loop of this home has the name, `Corrupt` where what was kept cannot be read.
    """
    check_name(request.name)
    settings = Settings.read(home)
    resources = open_home(settings)
    with resources.database.reading() as tx:
        _check_free(tx, request.name)
        begun = any(one.name == MONITOR for one in watch.list_monitors(tx, request.name))
    with scratch_folder() as scratch, resources.activity.shared():
        run = _go_on if begun else _begin
        watched, blocks = run(resources, settings, request, scratch, progress)
        _count(resources, watched, blocks)
    deliver(resources, request.name, resources.clock.now())
    return watched


def _begin(
    resources: Resources, settings: Settings, request: Request, scratch: Path, progress: Progress
) -> tuple[Watched, list[BlockSummary]]:
    """The first run: the files are durable before the monitor that needs them is."""
    files = open_files(request, scratch)
    steps = steps_of(files.columns)
    progress("rows", steps)
    rows = rows_of(request, files)
    if not rows.timed:
        raise InvalidInput(
            "alone.no_times",
            "without times it cannot be told which rows were counted already",
            remedy="Give a column of times (--at), or watch without --home.",
        )
    study = study_afresh(
        replace(request, kept=True), files.predictions, files.columns, rows, lambda step: progress(step, steps)
    )
    watched = answers(study, request, files.predictions)
    reference = study.blocks.part(0, study.reference)
    places = _places(settings, request.name)
    features = study.setup.columns.features
    keep_reference(places[1], files.predictions, features, study.rows, reference, durable=settings.durable)
    cut = [(int(start), int(end)) for start, end in zip(reference.start, reference.end, strict=True)]
    used = msgspec.json.decode(as_record(request, watched)) | msgspec.to_builtins(Record(study.setup, cut))
    write_file(places[0], msgspec.json.format(msgspec.json.encode(used), indent=2), durable=settings.durable)
    with resources.database.transaction() as tx:
        watch.start_monitor(
            tx,
            project=request.name,
            model=request.name,
            name=MONITOR,
            spec=study.setup.risk,
            reference=study.setup.reference,
            watermark=from_micros(study.setup.reference_until),
            at=resources.clock.now(),
        )
    given = summaries(study.rows, study.blocks, study.losses, study.trial.owed, study.setup.risk.loss)
    return watched, given[study.reference :]


def _go_on(
    resources: Resources, settings: Settings, request: Request, scratch: Path, progress: Progress
) -> tuple[Watched, list[BlockSummary]]:
    kept = _kept(resources, settings, request.name)
    asked = _as_begun(request, kept.setup)
    files = open_files(asked, scratch)
    steps = steps_of(kept.setup.columns)
    progress("rows", steps)
    rows = rows_of(asked, files, kept.setup.classes)
    study, given = study_again(kept, files.predictions, rows, lambda step: progress(step, steps))
    watched = answers(study, request, files.predictions)
    told = [*watched.notices, *_goes_on(request, kept, given)]
    return msgspec.structs.replace(watched, notices=told), given


def _places(settings: Settings, name: str) -> tuple[Path, Path]:
    """Where the record and the rows of the reference lie."""
    folder = settings.home / FOLDER
    return folder / f"{name}.json", folder / f"{name}.parquet"


def _kept(resources: Resources, settings: Settings, name: str) -> Kept:
    record, reference = _places(settings, name)
    try:
        found = msgspec.json.decode(record.read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError) as error:
        raise Corrupt(
            "alone.record_lost",
            f"what was kept of {name} cannot be read: {record}",
            remedy="Restore it from a backup, or begin anew under another --name.",
        ) from error
    with resources.database.reading() as tx:
        monitor = watch.read_monitor(tx, name, name, MONITOR)
        counted = read_performance(tx, name, name, MONITOR)
        alarms = [micros(one.block_end) for one in list_alarms(tx, name) if one.monitor == MONITOR]
    return Kept(found.setup, reference, found.cut, monitor.state, micros(monitor.watermark), counted, alarms)


def _as_begun(request: Request, setup: Setup) -> Request:
    """The request with columns and kind as at the first run, and the files of this one."""
    columns: Columns = setup.columns
    said = Said(
        id=columns.id,
        at=columns.at,
        score=columns.score,
        label=columns.label,
        label_at=columns.label_at,
        group=columns.group,
        judge=columns.judge,
        propensity=columns.propensity,
    )
    positive = setup.classes[1] if setup.kind == "binary" and setup.classes else ""
    return Request(
        predictions=request.predictions,
        labels=request.labels,
        earlier=request.earlier,
        name=request.name,
        said=said,
        kind=setup.kind,
        positive=positive,
        absent=setup.absent,
        prices=request.prices,
        kept=True,
    )


def _goes_on(request: Request, kept: Kept, given: Sequence[BlockSummary]) -> list[str]:
    since = f"{from_micros(kept.watermark):%Y-%m-%d %H:%M}"
    told = [
        f"It goes on from {since} UTC, where the last run ended: {len(given)} blocks are new, {len(kept.counted)} were counted before."
    ]
    changed = (
        request.tolerance,
        request.reference_blocks,
        request.block,
        request.loss,
        request.reference_until,
        request.matures,
        request.kind,
    )
    if any(changed):
        told.append(
            "It goes on as it began: options for block, loss, tolerance, reference and maturity count at the first run. Use another --name to begin anew."
        )
    return told


def _count(resources: Resources, watched: Watched, blocks: Sequence[BlockSummary]) -> None:
    """Advance the monitor, and let its alarms become incidents, in one transaction. Blocks that another run counted count not again."""
    now = resources.clock.now()
    with resources.database.transaction() as tx:
        name = watched.name
        for alarm in watch.advance(tx, project=name, model=name, name=MONITOR, blocks=blocks, at=now):
            record_alarm(tx, alarm, at=now)
            _open(tx, watched, alarm, now)
        known = list_alarms(tx, name)
        for alarm in _slice_alarms(watched, known, now):
            if raise_alarm(tx, alarm):
                record_alarm(tx, alarm, at=now)
                _open(tx, watched, alarm, now)


def _slice_alarms(watched: Watched, known: Sequence[Alarm], now: datetime) -> Iterator[Alarm]:
    """An alarm for each slice that is harmed by itself and still is, unless one was raised for this episode of it before."""
    for harm in watched.why.slices:
        begun = watched.blocks[harm.episode.first].start
        raised = [place for place in harm.alarms if harm.episode.first <= place <= harm.episode.last]
        monitor = f"slice:{harm.slice}"
        if harm.episode.ended or not raised or any(one.monitor == monitor and one.block_end > begun for one in known):
            continue
        sentence = next(
            (one for one in watched.why.sentences if one.startswith(BY_ITSELF) and f": {harm.slice}," in one),
            harm.slice,
        )
        yield new_alarm(
            project=watched.name,
            model=watched.name,
            monitor=monitor,
            kind=HARM,
            at=now,
            block_start=begun,
            block_end=watched.blocks[raised[0]].end,
            evidence={
                "sentence": sentence,
                "onset": begun.isoformat(),
                "rise": harm.rise,
                "rows_share": harm.rows_share,
            },
            page=True,
        )


def _open(tx: Transaction, watched: Watched, alarm: Alarm, now: datetime) -> None:
    take_alarm(tx, alarm.id)
    of_all = watched.verdict == HARMED and alarm.monitor == MONITOR
    sentence = watched.headline if of_all else sentence_of(alarm.evidence)
    found, new = incident.open_or_join(
        tx,
        project=alarm.project,
        model=alarm.model,
        kind=alarm.kind,
        alarm=alarm.id,
        at=now,
        sentence=sentence,
        diagnosis=_diagnosis(watched),
        severity="critical",
    )
    if new:
        attention.tell(tx, found, People(), now)


def _diagnosis(watched: Watched) -> list[dict[str, Any]]:
    """The likeliest causes first."""
    causes = watched.why.causes
    return [msgspec.to_builtins(cause) for cause in causes[:_CAUSES]]


def check_name(name: str) -> None:
    """Raise `InvalidInput` for what cannot name what is watched in a home."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "alone.bad_name",
            f"{name!r} cannot name a model",
            remedy="Give --name letters, digits, _ and -, e.g. --name churn.",
        )


def _check_free(tx: Transaction, name: str) -> None:
    if name in loops.applied_loops(tx):
        raise Conflict(
            "alone.name_taken", f"a loop of this home is called {name!r}", remedy="Give the model another --name."
        )
