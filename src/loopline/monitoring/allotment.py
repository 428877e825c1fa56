"""One budget of false pages for a whole project: what each monitor gets of it, what is spent, and which of many alarms to believe."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from loopline.errors import InvalidInput
from loopline.monitoring.kinds import AnyWatched, with_budget
from loopline.monitoring.power import Power, power
from loopline.monitoring.risk import YEAR, Risk
from loopline.monitoring.watch import Monitor
from loopline.values import duration

SPANS = ("1d", "7d", "30d")
"""Within these it is told how small a harm would be seen."""

SLICES = "slices"
SLICES_SHARE = 0.5
"""Of a budget for rows and slices together so much is for all slices; the rest is for all rows as one."""

_MOST_BLOCKS = 2000


class Spent(msgspec.Struct, frozen=True):
    """What one monitor has of the budget and how it stands. `expected` is the most false pages to expect so far, blocks seen over the
    blocks between two false pages; `alarms` are those that came, true or false.
    """

    model: str
    monitor: str
    false_pages_per_year: float
    blocks: int
    expected: float
    alarms: int
    sees: list[Power]


class ProjectBudget(msgspec.Struct, frozen=True):
    """The monitors of a project together. `false_pages_per_year` is their sum, `declared` what was said for the whole (None: nothing)."""

    project: str
    declared: float | None
    false_pages_per_year: float
    expected: float
    alarms: int
    monitors: list[Spent]


def allot(budget: float | None, declared: Sequence[float]) -> float:
    """By how much each of the declared budgets is multiplied so that all together come to `budget`; 1.0 without one."""
    total = sum(declared)
    if budget is None or not total:
        return 1.0
    if budget <= 0:
        raise InvalidInput("monitor.no_budget", "a budget of no false pages allows no page", remedy="Write e.g. 4.")
    return budget / total


def scaled(watched: AnyWatched, factor: float) -> AnyWatched:
    """The same with so many times its budget, as far as its blocks allow: one false page in two blocks is the most."""
    most = watched.blocks_per_year / 2 if isinstance(watched, Risk) else float("inf")
    return with_budget(watched, min(watched.false_pages_per_year * factor, most))


def with_slices(budget: float) -> tuple[float, float]:
    """What all rows as one, and what all slices, have of a budget for both."""
    return budget * (1 - SLICES_SHARE), budget * SLICES_SHARE


def spent_by(monitor: Monitor, alarms: int, spans: Sequence[str] = SPANS) -> Spent:
    """How a stored monitor stands, and how small a rise of its excess it would see within each of `spans`."""
    return Spent(
        model=monitor.model,
        monitor=monitor.name,
        false_pages_per_year=monitor.spec.false_pages_per_year,
        blocks=monitor.state.blocks,
        expected=monitor.state.blocks / monitor.spec.threshold,
        alarms=alarms,
        sees=[] if monitor.of_change else [_sees(monitor, duration(span)) for span in spans],
    )


def spent_by_slices(monitor: Monitor, false_pages_per_year: float) -> Spent:
    """What the slices of what a stored monitor watches have together. Their alarms are told where they are looked at, and not kept."""
    blocks = monitor.state.blocks
    expected = blocks * false_pages_per_year / monitor.spec.blocks_per_year
    return Spent(monitor.model, SLICES, false_pages_per_year, blocks, expected, 0, [])


def _sees(monitor: Monitor, span: timedelta) -> Power:
    """Of a span of very many blocks what the first 2,000 would show, which is no less."""
    within = min(span, _MOST_BLOCKS * duration(monitor.spec.block))
    spread = math.hypot(monitor.reference.spread, monitor.state.spread)
    reference = msgspec.structs.replace(monitor.reference, spread=spread)
    return Power(span, power(monitor.spec, reference, [within])[0].rise)


def budget_of(
    project: str,
    declared: float | None,
    monitors: Sequence[Monitor],
    alarms: Mapping[tuple[str, str], int],
    now: datetime,
    of_slices: Sequence[Spent] = (),
) -> ProjectBudget:
    """The budget of a project from its monitors and how many alarms each raised, by model and name, and from what its slices have.

    A monitor that saw no block for a year, of a decision or a pair of models that is no more, has no share of what is to come.
    """
    told = [*(spent_by(one, alarms.get((one.model, one.name), 0)) for one in monitors), *of_slices]
    lively = [one for one in monitors if now - one.watermark < YEAR]
    live = [one.spec.false_pages_per_year for one in lively]
    live += [one.false_pages_per_year for one in of_slices if one.model in {each.model for each in lively}]
    return ProjectBudget(
        project=project,
        declared=declared,
        false_pages_per_year=sum(live),
        expected=sum(one.expected for one in told),
        alarms=sum(one.alarms for one in told),
        monitors=told,
    )
