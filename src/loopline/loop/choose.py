"""Choose a policy by replay: the cheapest over a first stretch of history, reported on what came after.

The second stretch has no say in the choice, and no label counts that was not known when it was made: of the best of many,
the first stretch tells too good a story. What a policy costs is its loss, its trainings and its pages, by the declared prices.
"""

from datetime import datetime
from typing import NamedTuple

import msgspec
import polars as pl

from loopline.errors import InvalidInput
from loopline.evaluation.intervals import paired_by_block
from loopline.incidents import incident
from loopline.incidents.prices import Prices
from loopline.ledger import chain
from loopline.loop.compare import first_champion, judged_rows
from loopline.loop.declare import Loop
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.replay import Period
from loopline.loop.resources import Resources
from loopline.monitoring.alarm_kinds import DECISION_HARM, HARM

_PAGES = {HARM, DECISION_HARM}


class Part(msgspec.Struct, frozen=True):
    """What a policy came to over predictions for times in (start, until]: mean loss over labelled rows, and what all of it cost."""

    start: datetime
    until: datetime
    rows: int
    loss: float
    retrains: int
    pages: int
    total: float


class Difference(msgspec.Struct, frozen=True):
    """What a policy cost more than the chosen one, with a 95 % interval that lets the rows of one day depend on each other; trainings and pages
    are counted as they were.
    """

    mean: float
    lower: float
    upper: float

    @property
    def within_chance(self) -> bool:
        """Whether it may as well be nothing."""
        return self.lower <= 0 <= self.upper


class Candidate(msgspec.Struct, frozen=True):
    """One policy over both stretches; `more_then` and `more` are what it cost more than the chosen one in each, None for that one itself."""

    policy: str
    chosen_on: Part
    rest: Part
    more_then: Difference | None
    more: Difference | None


class Choice(msgspec.Struct, frozen=True):
    """The policy of least cost over the first stretch, and what each came to over both. The cheapest is first."""

    model: str
    loss: str
    chosen: str
    choose_until: datetime
    prices: Prices
    candidates: list[Candidate]
    sentence: str


class _Stretch(NamedTuple):
    rows: pl.DataFrame
    part: Part


def check_choice(loop: Loop, period: Period, choose_until: datetime) -> None:
    """Raise `InvalidInput` where nothing can be chosen so: before a long replay, not after it."""
    if not period.start < choose_until < period.until:
        raise InvalidInput(
            "replay.choose_until",
            f"{choose_until:%Y-%m-%d} does not part the replay from {period.start:%Y-%m-%d} to {period.until:%Y-%m-%d}",
            remedy="Choose at a moment in between.",
        )
    unpriced = [name for name, operation in loop.operations.items() if operation.prices is None]
    if unpriced:
        raise InvalidInput(
            "replay.no_prices",
            f"nothing says what loss, trainings and pages of {', '.join(unpriced)} cost",
            remedy="Declare it: loop.operate(..., prices=ll.prices(loss=..., retrain=..., page=...)).",
        )


def choose(resources: Resources, lanes: list[Lane], *, period: Period, choose_until: datetime) -> Choice:
    """Choose among the lanes of one model, all of which have been replayed over the period.

    The first stretch ends where labels had matured by `choose_until`, the second begins there. Raises `InvalidInput` where one of
    them has no labelled predictions by a champion.
    """
    history, end, lane = History(resources.tables), resources.clock.now(), lanes[0]
    prices = lane.operation.prices
    first = min((found for one in lanes if (found := first_champion(resources, one))), default=choose_until)
    matured = lane.operation.model.label.mature_until(choose_until)
    if prices is None or matured <= first:
        raise _too_early(lane, choose_until)
    then = [
        _stretch(resources, one, history, prices, first, matured, choose_until, began=period.start, ended=choose_until)
        for one in lanes
    ]
    since = [
        _stretch(resources, one, history, prices, choose_until, period.until, end, began=choose_until, ended=end)
        for one in lanes
    ]
    if any(not found.part.rows for found in (*then, *since)):
        raise _too_early(lane, choose_until)
    by_cost = sorted(range(len(lanes)), key=lambda place: (then[place].part.total, then[place].part.retrains, place))
    best = by_cost[0]
    candidates = [
        Candidate(
            lanes[place].policy,
            then[place].part,
            since[place].part,
            None if place == best else _more(then[place], then[best], prices),
            None if place == best else _more(since[place], since[best], prices),
        )
        for place in by_cost
    ]
    told = _sentence(candidates, choose_until)
    loss = lane.operation.watch.loss
    return Choice(lane.model, loss, candidates[0].policy, choose_until, prices, candidates, told)


def _stretch(
    resources: Resources,
    lane: Lane,
    history: History,
    prices: Prices,
    after: datetime,
    until: datetime,
    now: datetime,
    *,
    began: datetime,
    ended: datetime,
) -> _Stretch:
    """Predictions for times in (after, until] with their labels as known at `now`; trainings and pages in (began, ended]."""
    rows = judged_rows(resources, lane, history, start=after, until=until, end=now)
    rows = rows.filter(pl.col("loss").is_not_null() & pl.col("loss").is_not_nan())
    with resources.database.reading() as tx:
        trained = [entry.at for entry in chain.entries(tx, lane.project, kind="version.registered")]
        paged = [one.opened_at for one in incident.find(tx, lane.project, model=lane.model) if one.kind in _PAGES]
    retrains = sum(began < at <= ended for at in trained)
    pages = sum(began < at <= ended for at in paged)
    loss = float(rows["loss"].mean()) if rows.height else float("nan")  # type: ignore[arg-type]
    total = prices.total(loss=loss, rows=rows.height, retrains=retrains, pages=pages)
    return _Stretch(rows, Part(after, until, rows.height, loss, retrains, pages, total))


def _more(one: _Stretch, chosen: _Stretch, prices: Prices) -> Difference | None:
    both = one.rows.join(chosen.rows.select("_key", chosen="loss"), on="_key", how="inner")
    if both.is_empty():
        return None
    found = paired_by_block(both["loss"].to_numpy(), both["chosen"].to_numpy(), both["at"].dt.truncate("1d").to_numpy())
    counted = prices.total(
        loss=0.0, rows=0, retrains=one.part.retrains - chosen.part.retrains, pages=one.part.pages - chosen.part.pages
    )
    mean, lower, upper = (
        counted + prices.loss * figure * both.height for figure in (found.mean, found.lower, found.upper)
    )
    return Difference(mean, lower, upper)


def _sentence(candidates: list[Candidate], choose_until: datetime) -> str:
    best, *others = candidates
    close = [one.policy for one in others if one.more_then is not None and one.more_then.within_chance]
    beside = f"; within chance of it: {', '.join(close)}" if close else ""
    compared = "; ".join(f"{one.policy} {_told(one.more)}" for one in others if one.more is not None)
    since = f" Since then it cost {best.rest.total:,.0f}" + (f", and {compared}." if compared else ".")
    return (
        f"{best.policy} was chosen at {choose_until:%Y-%m-%d}: by then it had cost {best.chosen_on.total:,.0f}, the least of "
        f"{len(candidates)} policies{beside}.{since}"
    )


def _told(more: Difference) -> str:
    word = "more" if more.mean >= 0 else "less"
    chance = ", within chance" if more.within_chance else ""
    return f"{abs(more.mean):,.0f} {word} ({more.lower:+,.0f} to {more.upper:+,.0f}{chance})"


def _too_early(lane: Lane, choose_until: datetime) -> InvalidInput:
    return InvalidInput(
        "replay.nothing_to_choose_on",
        f"{lane.model} has no labelled predictions by a champion on both sides of {choose_until:%Y-%m-%d}",
        remedy="Choose later, or replay a longer period.",
    )
