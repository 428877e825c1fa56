"""Labels that come late or are corrected after their block was watched: the block is measured again, and no evidence changes."""

from datetime import datetime

import polars as pl

from loopline.decisions.decision import AnyDecision, decode_decision
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.pushed_labels import pushed_labels
from loopline.loop.resources import Resources
from loopline.loop.review import reviewed_of
from loopline.loop.watch import HARM_MONITOR, matured
from loopline.models import decision_versions
from loopline.monitoring import watch
from loopline.monitoring.block import cut
from loopline.monitoring.performance import add_restated, read_performance, read_restated
from loopline.scoring.record import prediction_table
from loopline.values import Window

LOOK_BACK = 30
"""How many times its maturity back a block is measured again: beyond that nobody acts on it, and reading it all would take long."""


def restate(resources: Resources, lane: Lane, history: History, window: Window) -> int:
    """Measure again every watched block of whose predictions a label became known in the window; gives how many came out otherwise.

    A monitor bets on each block once, with what was known then: what is known later is kept beside it, as a row of its own.
    """
    with resources.database.reading() as tx:
        monitor = watch.find_monitor(tx, lane.project, lane.model, HARM_MONITOR)
        seen = read_performance(tx, lane.project, lane.model, HARM_MONITOR)
        again = {row.block_start: row for row in read_restated(tx, lane.project, lane.model, HARM_MONITOR)}
    if monitor is None or not seen:
        return 0
    times = _predicted(resources, lane, history, window, until=seen[-1].block_end)
    touched = [row for row in seen if any(row.block_start < at <= row.block_end for at in times)]
    changed = []
    for row in touched:
        known = again.get(row.block_start, row)
        rows = matured(resources, lane, history, after=row.block_start, until=row.block_end, now=window.end)
        blocks = cut(rows, monitor.spec, _decision_at(resources, lane, row.measured_at), lane.operation.model.output)
        changed += [(known, block) for block in blocks]
    with resources.database.transaction() as tx:
        return add_restated(tx, changed, monitor.spec, at=window.end)


def _decision_at(resources: Resources, lane: Lane, at: datetime) -> AnyDecision | None:
    """The decision by whose prices a block was measured, so that only labels make a difference."""
    with resources.database.reading() as tx:
        found = decision_versions.current_decision(tx, lane.project, lane.model, at=at)
    return decode_decision(found.body) if found else None


def _predicted(
    resources: Resources, lane: Lane, history: History, window: Window, *, until: datetime
) -> list[datetime]:
    """The times up to `until` of predictions whose label became known in the window."""
    label = lane.operation.model.label
    told = history.known(label.table, window.end).filter(pl.col("_known_at") > window.start)["_key"]
    pushed = pushed_labels(resources, lane, window.end)
    reviewed = reviewed_of(resources, lane, window.end)
    said = [pushed, reviewed.frame if reviewed else None]
    new = [one.filter(pl.col("_known_at") > window.start)["_key"] for one in said if one is not None]
    own = pl.concat(new) if new else pl.Series(dtype=pl.String)
    if not len(told) and not len(own):
        return []
    if lane.replayed and not label.by and not _any_before(lane, history, told, window, until=until) and not len(own):
        return []
    named = pl.col("label_key" if label.by else "_key")
    wanted = named.is_in(told.implode()) | pl.col("_key").is_in(own.implode())
    columns = ["_key", "_event_time", "label_key"]
    table = resources.tables.open(prediction_table(lane.project, lane.model))
    since = until - lane.operation.model.label.maturity * LOOK_BACK
    rows = table.read(event_after=since, event_until=until, columns=columns).filter(wanted)
    return sorted(set(rows["_event_time"].to_list()))


def _any_before(lane: Lane, history: History, told: pl.Series, window: Window, *, until: datetime) -> bool:
    """Whether any of the keys was due by then: in a replay the subjects are in memory, and mostly none was."""
    subjects = history.known(lane.recipe.table, window.end)
    if subjects.is_empty():
        return False
    due = (pl.col(lane.recipe.at) <= until) & (pl.col(lane.recipe.at) > until - lane.recipe.label.maturity * LOOK_BACK)
    return subjects.filter(due & pl.col("_key").is_in(told.implode())).height > 0
