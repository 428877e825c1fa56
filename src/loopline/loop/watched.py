"""All that is watched in a home: every monitor of every kind, its evidence, its share of the budget, its alarms and open incidents."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import msgspec

from loopline.incidents import incident
from loopline.incidents.incident import Incident
from loopline.loop import freshness, store
from loopline.loop.resources import Resources
from loopline.loop.status import projects
from loopline.loop.watch import HARM_MONITOR
from loopline.models import registry
from loopline.monitoring.alarm import Alarm, list_alarms
from loopline.monitoring.alarm_kinds import (
    DATA_FAULT,
    DECISION_HARM,
    ESTIMATED_HARM,
    EXCEEDED,
    HARM,
    MOVED,
    REGRET,
    UNFAIR,
)
from loopline.monitoring.performance import Performance, read_performance
from loopline.monitoring.risk import RATE
from loopline.monitoring.watch import Monitor, list_monitors
from loopline.storage.database import Transaction

INPUTS = "data"
_KINDS = {
    "harm": HARM,
    "decision": DECISION_HARM,
    "estimated": ESTIMATED_HARM,
    "regret": REGRET,
    "fair": UNFAIR,
    "change": MOVED,
}


class Watched(msgspec.Struct, frozen=True):
    """One monitor. `kind` is that of its alarms; `evidence` goes from 0 to 1, an alarm; `watermark` is until when it saw. Those that compare with
    a promise have `excess` (of the last block), `allowed`, and a share of the budget of false pages; those of inputs and sources have none.
    """

    project: str
    model: str
    monitor: str
    kind: str
    watermark: datetime | None
    evidence: float | None
    excess: float | None
    allowed: float | None
    coverage: float | None
    false_pages_per_year: float | None
    alarms: int
    last_alarm: datetime | None
    incidents: list[str]


def watched(resources: Resources, project: str | None = None) -> list[Watched]:
    """The monitors of every project, or of one: those of a model first, then of its inputs, then of sources that promise freshness."""
    with resources.database.reading() as tx:
        names = [project] if project else projects(tx)
        return [one for name in names for one in _of_project(tx, name)]


def kind_of(monitor: str) -> str:
    """The kind of the alarms that a monitor of this name raises."""
    if monitor in {INPUTS, freshness.MONITOR}:
        return DATA_FAULT
    return EXCEEDED if monitor.startswith(RATE) else _KINDS.get(monitor.split(":", maxsplit=1)[0], HARM)


def blocks_of(tx: Transaction, project: str, model: str, monitor: str = HARM_MONITOR) -> list[Performance]:
    """What the monitor saw, block by block."""
    return read_performance(tx, project, model, monitor)


def _of_project(tx: Transaction, project: str) -> Iterator[Watched]:
    alarms, opened = list_alarms(tx, project), incident.find(tx, project, only_open=True)
    found = sorted(list_monitors(tx, project), key=lambda one: (one.model, one.name != HARM_MONITOR, one.name))
    for monitor in found:
        yield _of_evidence(tx, monitor, alarms, opened)
    for model in registry.models(tx, project):
        last = store.last_turn(tx, project, model)
        yield _plain(project, model, INPUTS, last["window_end"] if last else None, alarms, opened)
    applied = store.latest_applied(tx, project)
    for name, said in (applied["declaration"]["sources"] if applied else {}).items():
        if said.get("freshness"):
            asked = store.last_asked(tx, f"{project}.{name}")
            seen = asked["until"] if asked else None
            yield _plain(project, f"{project}.{name}", freshness.MONITOR, seen, alarms, opened)


def _of_evidence(tx: Transaction, monitor: Monitor, alarms: list[Alarm], opened: list[Incident]) -> Watched:
    rows = read_performance(tx, monitor.project, monitor.model, monitor.name)
    plain = _plain(monitor.project, monitor.model, monitor.name, monitor.watermark, alarms, opened)
    return msgspec.structs.replace(
        plain,
        evidence=monitor.evidence,
        excess=rows[-1].excess if rows else None,
        allowed=None if monitor.of_change else monitor.allowed,
        coverage=rows[-1].coverage if rows else None,
        false_pages_per_year=monitor.spec.false_pages_per_year,
    )


def _plain(
    project: str, model: str, monitor: str, seen: datetime | None, alarms: list[Alarm], opened: list[Incident]
) -> Watched:
    mine = [one for one in alarms if (one.model, one.monitor) == (model, monitor)]
    names = {one.id for one in mine}
    return Watched(
        project=project,
        model=model,
        monitor=monitor,
        kind=Counter(one.kind for one in mine).most_common(1)[0][0] if mine else kind_of(monitor),
        watermark=seen,
        evidence=None,
        excess=None,
        allowed=None,
        coverage=None,
        false_pages_per_year=None,
        alarms=len(mine),
        last_alarm=mine[-1].at if mine else None,
        incidents=[one.id for one in opened if names & set(one.alarms)],
    )
