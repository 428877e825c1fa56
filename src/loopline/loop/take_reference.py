"""What a model that something else serves is held to: what its first predictions showed, once their labels were due."""

from datetime import datetime

import msgspec
import polars as pl
import structlog

from loopline.decisions.decision import fit_decision
from loopline.errors import InvalidInput
from loopline.evaluation.kind import from_column
from loopline.incidents.actions import Cause
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.deployment import put_decision
from loopline.loop.history import History
from loopline.loop.inputs import freeze_inputs, logged_features
from loopline.loop.lane import Lane
from loopline.loop.promise import PROMISE, Promise, promised
from loopline.loop.resources import Resources
from loopline.loop.watch import HARM_MONITOR, block_floor, matured
from loopline.monitoring import watch
from loopline.scoring.feature_columns import as_kinds
from loopline.scoring.record import prediction_table
from loopline.training.training_set import LabelledRows
from loopline.values import MICROSECOND, Window, duration

log = structlog.get_logger(__name__)


def take_reference(resources: Resources, lane: Lane, history: History, now: datetime) -> bool:
    """Take the reference and start the monitor from its end on, where that is due; says whether it was.

    It is due when `first_after` the first prediction the labels have matured; where those rows do not make blocks enough, it is taken of all that
    matured, once they do. Decision, monitor, profile and the entry in the ledger commit together.
    """
    name = prediction_table(lane.project, lane.model)
    if not resources.tables.exists(name):
        return False
    with resources.database.reading() as tx:
        if watch.find_monitor(tx, lane.project, lane.model, HARM_MONITOR) is not None:
            return False
    begin = resources.tables.open(name).read(columns=["_event_time"])["_event_time"].min()
    due = block_floor(lane.operation.model.label.mature_until(now), lane.operation.watch.block)
    if not isinstance(begin, datetime) or due < begin + duration(lane.operation.first_after):
        return False
    first = block_floor(begin + duration(lane.operation.first_after), lane.operation.watch.block)
    for until in dict.fromkeys((first, due)):
        if until > begin and _taken(resources, lane, history, Window(begin - MICROSECOND, until), now):
            return True
    return False


def _taken(resources: Resources, lane: Lane, history: History, window: Window, now: datetime) -> bool:
    output = lane.operation.model.output
    rows = matured(resources, lane, history, after=window.start, until=window.end, now=now)
    known = rows.filter(pl.col(output.column).is_not_null())
    try:
        decision = fit_decision(
            lane.operation.decide,
            output.shaped(from_column(known[output.column])),
            classes=output.classes,
            levels=output.levels,
        )
        with resources.database.reading() as tx:
            said = promised(tx, lane, rows, decision)
    except InvalidInput as error:
        log.warning("no_reference_yet", model=lane.model, until=str(window.end), why=error.message)
        return False
    promise = msgspec.convert(said[PROMISE], Promise)
    profile = _profile(resources, lane, window)
    with resources.database.transaction() as tx:
        cause = Cause(key=f"reference:{lane.model}", sentence="its first predictions", actor="loop", at=now)
        put_decision(tx, lane.project, lane.model, msgspec.to_builtins(decision), cause)
        watch.start_monitor(
            tx,
            project=lane.project,
            model=lane.model,
            name=HARM_MONITOR,
            spec=promise.risk,
            reference=promise.reference,
            watermark=window.end,
            at=now,
        )
        row = {"since": window.start, "until": window.end, "at": now, "rows": rows.height, "profile": profile}
        store.add_reference(tx, {"project": lane.project, "model": lane.model, **row})
        chain.append(
            tx,
            project=lane.project,
            at=now,
            kind="reference.taken",
            actor="loop",
            subject=lane.model,
            body={**row, "reference": msgspec.to_builtins(promise.reference)},
            key=f"reference:{lane.model}",
        )
    return True


def _profile(resources: Resources, lane: Lane, window: Window) -> str | None:
    """The profile of the inputs; None for a model of which none are told."""
    model = lane.operation.model
    if not model.given:
        return None
    table = resources.tables.open(prediction_table(lane.project, lane.model))
    times = table.read(columns=["_event_time"], event_after=window.start, event_until=window.end)
    frame = as_kinds(logged_features(resources, lane, window), model.given_kinds).with_columns(times["_event_time"])
    return freeze_inputs(resources, lane, LabelledRows(frame, lane.recipe))
