"""A dry run of the playbook: what each response says of how things stand, and what would be done at the next turn. Changes nothing."""

from datetime import datetime

import msgspec

from loopline.incidents import measures
from loopline.incidents.measures import Measure
from loopline.incidents.playbook import Considered, consider
from loopline.loop import store
from loopline.loop.declare import Loop
from loopline.loop.deployment import Predictors
from loopline.loop.history import History
from loopline.loop.lane import Lane, lanes
from loopline.loop.resources import Resources
from loopline.loop.respond import Decided, decide
from loopline.loop.situation import LaneSituation
from loopline.values import Window, duration


class Rehearsal(msgspec.Struct, frozen=True):
    """For one model and the turn that comes next: the measures in force, every response asked by itself, and the one action of the turn,
    with what it waits for; None where nothing would be done.
    """

    project: str
    model: str
    start: datetime
    end: datetime
    measures: list[Measure]
    responses: list[Considered]
    would: Decided | None


def rehearse(resources: Resources, loop: Loop) -> list[Rehearsal]:
    """Ask the playbooks of a loop file, applied or not, about the home as it is."""
    history = History(resources.tables)
    return [_rehearse(resources, loop, lane, history) for lane in lanes(loop, seed=resources.seed, compare=False)]


def _rehearse(resources: Resources, loop: Loop, lane: Lane, history: History) -> Rehearsal:
    window = _next(resources, loop, lane)
    situation = LaneSituation(resources, lane, history, Predictors(resources), window)
    with resources.database.reading() as tx:
        lasting = measures.all_in_force(tx, lane.project, lane.model)
    would = decide(resources, lane, situation)
    responses = consider(lane.responses, situation)
    return Rehearsal(lane.project, lane.model, window.start, window.end, lasting, responses, would)


def _next(resources: Resources, loop: Loop, lane: Lane) -> Window:
    """From the last turn until now, or as long as a turn is, where that was a replay's or lies ahead."""
    with resources.database.reading() as tx:
        last = store.last_turn(tx, lane.project, lane.model)
    now, length = resources.clock.now(), duration(loop.turn)
    if last is None:
        return Window(now - length, now)
    begin: datetime = last["window_end"]
    return Window(begin, min(now, begin + length) if now > begin else begin + length)
