"""Compare policies after a replay: what each would have cost, on the same rows with the same labels."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from loopline.decisions.decision import only_costs
from loopline.evaluation.intervals import Interval, paired_by_block
from loopline.evaluation.kind import from_column
from loopline.evaluation.losses import losses_of, named
from loopline.evaluation.weights import weighted_mean_by_block
from loopline.gates.promotion import CHAMPION
from loopline.incidents import incident
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.history import History
from loopline.loop.lane import LOOP_POLICY, Lane
from loopline.loop.logged_costs import LoggedCosts, logged_costs, weigh_selected
from loopline.loop.resources import Resources
from loopline.loop.watch import HARM_MONITOR, matured
from loopline.models import registry
from loopline.monitoring.alarm import sentence_of
from loopline.monitoring.alarm_kinds import DECISION_HARM, HARM
from loopline.monitoring.performance import read_performance
from loopline.monitoring.watch import find_monitor
from loopline.storage.database import Transaction


class Month(msgspec.Struct, frozen=True):
    """One calendar month (UTC) of one policy; means over judged rows. `constant` is the loss of the best constant of the month."""

    month: str
    labelled: int
    mean_label: float
    constant: float
    loss: float
    other_loss: float | None
    cost: float


class Day(msgspec.Struct, frozen=True):
    """One watched block: excess of the loss over its baseline, and the evidence for harm (log of the e-process)."""

    end: datetime
    excess: float | None
    log_evidence: float


class Event(msgspec.Struct, frozen=True):
    """Something that changed, or could have changed, what serves; or that people were told of."""

    at: datetime
    kind: str
    sentence: str


class PolicyResult(msgspec.Struct, frozen=True):
    """What came of one policy. `loss` is the one that is watched, `other_loss` another of this kind of model. Losses and costs are means over labelled rows since the first champion (`since`), costs in the
    declared unit; `predictions`, `labelled` and `unlabelled` count the whole period, and of the unlabelled `censored` are known in
    part. `seconds` are measured. Where outcomes depend on the action taken, the cost is an estimate from logged actions, `off_policy`, and
    NaN where that is refused.
    """

    policy: str
    project: str
    predictions: int
    labelled: int
    unlabelled: int
    evaluated: int
    loss: float
    other_loss: float | None
    cost: float
    abstained: float
    pages: int
    retrains: int
    promotions: int
    rollbacks: int
    train_seconds: float
    score_seconds: float
    against_loop: dict[str, Any] | None
    months: list[Month]
    days: list[Day]
    events: list[Event]
    ledger: str
    censored: int = 0
    off_policy: LoggedCosts | None = None


class Comparison(msgspec.Struct, frozen=True):
    """The policies of one model side by side. `since` is when the first champion began to serve; `loss` and `other_loss` name
    what the model is judged by.
    """

    loop: str
    model: str
    start: datetime
    until: datetime
    since: datetime
    loss: str
    other_loss: str | None
    threshold: float
    allowed_excess: float
    assumptions: list[str]
    policies: list[PolicyResult]


def compare(
    resources: Resources, lanes: list[Lane], *, start: datetime, until: datetime, assumptions: list[str]
) -> Comparison:
    """Compare the lanes of one model; the first is the loop's own. All have been replayed over (start, until]."""
    history, end = History(resources.tables), resources.clock.now()
    rows = {lane.policy: judged_rows(resources, lane, history, start=start, until=end, end=end) for lane in lanes}
    since = min(first_champion(resources, lane) or until for lane in lanes)
    judged = {policy: found.filter(pl.col("at") > since) for policy, found in rows.items()}
    priced = {lane.policy: _priced(resources, lane, history, judged[lane.policy], end) for lane in lanes}
    reference = judged[LOOP_POLICY], priced[LOOP_POLICY].rows
    results = [
        _result(resources, lane, rows[lane.policy], judged[lane.policy], priced[lane.policy], reference)
        for lane in lanes
    ]
    told = [f"{policy}: {found.note}" for policy, found in priced.items() if found.note]
    monitor = _monitor_terms(resources, lanes[0])
    return Comparison(
        loop=lanes[0].project,
        model=lanes[0].model,
        start=start,
        until=until,
        since=since,
        loss=lanes[0].operation.watch.loss,
        other_loss=_other_loss(lanes[0]),
        threshold=lanes[0].operation.watch.threshold,
        allowed_excess=monitor,
        assumptions=[*assumptions, *told],
        policies=results,
    )


class _Priced(NamedTuple):
    """What each row cost: `_key`, `at`, `cost`; and how that is known, where it is estimated. No rows where it cannot be known."""

    rows: pl.DataFrame
    estimate: LoggedCosts | None
    note: str


def _priced(resources: Resources, lane: Lane, history: History, judged: pl.DataFrame, end: datetime) -> _Priced:
    label = lane.operation.model.label
    if not label.depends_on_action:
        return _Priced(judged.filter(pl.col("label").is_not_null()).select("_key", "at", "cost"), None, "")
    estimate, parts = logged_costs(resources, lane, history, judged, now=end)
    if estimate is None:
        return _Priced(parts, None, "no cost is estimated: no action of its predictions was logged")
    return _Priced(parts.clear() if estimate.estimate.refused else parts, estimate, estimate.sentence)


def judged_rows(
    resources: Resources, lane: Lane, history: History, *, start: datetime, until: datetime, end: datetime
) -> pl.DataFrame:
    """Predictions for times in (start, until], what each lost and cost by its label as known at `end`: `loss`, `other_loss`, `cost`."""
    rows = matured(resources, lane, history, after=start, until=until, now=end)
    rows = weigh_selected(rows, lane, history, now=end)
    output, labels = lane.operation.model.output, rows["label"].fill_null(np.nan).to_numpy()
    outputs = output.shaped(from_column(rows[output.column]))
    groups = None if lane.operation.model.group is None else rows["_group"].to_numpy()
    priced = only_costs(lane.operation.decide, classes=output.classes)
    losses = {"loss": lane.operation.watch.loss, "other_loss": _other_loss(lane)}
    nothing: list[None] = [None] * rows.height
    judged = [
        pl.Series(column, named(name, output).rows(outputs, labels, groups) if name else nothing, dtype=pl.Float64)
        for column, name in losses.items()
    ]
    return rows.with_columns(
        *judged,
        cost=priced.cost(rows["decision"].fill_null("").to_numpy().astype(np.str_), labels),
    ).sort("at", "_key")


def _other_loss(lane: Lane) -> str | None:
    """Another loss that judges this kind of model, to be shown beside the one that is watched."""
    return next(
        (name for name in losses_of(lane.operation.model.output.kind) if name != lane.operation.watch.loss), None
    )


def _result(
    resources: Resources,
    lane: Lane,
    rows: pl.DataFrame,
    since: pl.DataFrame,
    priced: _Priced,
    reference: tuple[pl.DataFrame, pl.DataFrame],
) -> PolicyResult:
    """`since` are the rows since the first champion, `reference` those of the loop with what they cost."""
    labelled = rows.filter(pl.col("label").is_not_null())
    judged = since.filter(pl.col("label").is_not_null())
    with resources.database.reading() as tx:
        turns = store.turns(tx, lane.project, lane.model)
        entries = chain.entries(tx, lane.project)
        pages = sum(one.kind in {HARM, DECISION_HARM} for one in incident.find(tx, lane.project, model=lane.model))
        days = _days(tx, lane)
        head = chain.head(tx, lane.project)
    kinds = [entry.kind for entry in entries]
    return PolicyResult(
        policy=lane.policy,
        project=lane.project,
        predictions=rows.height,
        labelled=labelled.height,
        unlabelled=rows.height - labelled.height,
        evaluated=judged.height,
        loss=_mean(judged, "loss"),
        other_loss=_mean(judged, "other_loss") if _other_loss(lane) else None,
        cost=_cost(priced),
        abstained=judged.filter(pl.col("decision") == "abstain").height / max(judged.height, 1),
        pages=pages,
        retrains=kinds.count("version.registered"),
        promotions=sum(entry.kind == "promotion" and "environment" not in entry.body for entry in entries),
        rollbacks=kinds.count("rollback"),
        train_seconds=sum(turn["measured"].get("train", 0.0) for turn in turns),
        score_seconds=sum(turn["measured"].get("score", 0.0) for turn in turns),
        against_loop=None if lane.policy == LOOP_POLICY else _differences(judged, priced.rows, *reference),
        months=_months(lane, labelled, priced),
        days=days,
        events=[_event(entry) for entry in entries if entry.kind in _TOLD],
        ledger=head.digest,
        censored=int(rows["censored"].sum()) if "censored" in rows.columns else 0,
        off_policy=priced.estimate,
    )


_TOLD = {"promotion", "rollback", "action", "alarm", "incident.opened", "incident.resolved"}


def _event(entry: chain.Entry) -> Event:
    """An alarm for harm is called an alarm; one for a data fault is called that, since it pages nobody."""
    pages = {HARM, DECISION_HARM}
    kind = entry.body["kind"] if entry.kind == "alarm" and entry.body["kind"] not in pages else entry.kind
    return Event(entry.at, kind, _sentence(entry.body))


def _sentence(body: dict[str, Any]) -> str:
    for name in ("sentence", "outcome"):
        if name in body:
            return str(body[name])
    evidence = body.get("evidence", {})
    told = f"version {body['version']} replaces {body['replaces'] or 'the fallback'}" if "version" in body else ""
    return sentence_of(evidence, told)


def _mean(rows: pl.DataFrame, column: str) -> float:
    """Of the rows that have a figure; where rows are censored, weighted for those that are."""
    known = rows.filter(pl.col(column).is_not_nan() & pl.col(column).is_not_null())
    if not known.height:
        return float("nan")
    values = known[column].to_numpy()
    return float(np.average(values, weights=known["weight"].to_numpy()) if "weight" in known.columns else values.mean())


def _cost(priced: _Priced) -> float:
    """The estimate that says most where there is one, else the mean."""
    if priced.estimate is None or priced.estimate.estimate.refused:
        return _mean(priced.rows, "cost")
    return priced.estimate.estimate.best.mean


def _differences(
    judged: pl.DataFrame, costs: pl.DataFrame, of_loop: pl.DataFrame, loop_costs: pl.DataFrame
) -> dict[str, Any] | None:
    """Loss and cost of the policy minus the loop's on the same rows, with intervals over days."""
    pairs = {"loss": (judged, of_loop), "cost": (costs, loop_costs)}
    joined = {
        name: mine.join(theirs.select("_key", pl.col(name).alias(f"loop_{name}")), on="_key", how="inner")
        for name, (mine, theirs) in pairs.items()
    }
    if not any(both.height for both in joined.values()):
        return None
    found = {name: _paired(both, name, f"loop_{name}") for name, both in joined.items()}
    return {name: msgspec.to_builtins(interval) for name, interval in found.items() if interval is not None}


def _paired(both: pl.DataFrame, name: str, of_loop: str) -> Interval | None:
    judged = both.filter(pl.col(name).is_not_nan() & pl.col(of_loop).is_not_nan())
    if not judged.height:
        return None
    day = judged["at"].dt.truncate("1d").to_numpy()
    first, second = judged[name].to_numpy(), judged[of_loop].to_numpy()
    if "weight" in judged.columns:
        return weighted_mean_by_block(first - second, judged["weight"].to_numpy(), day)
    return paired_by_block(first, second, day)


def _months(lane: Lane, labelled: pl.DataFrame, priced: _Priced) -> list[Month]:
    """Where costs are estimated, a month's is the mean of its rows' parts in the estimate."""
    if lane.operation.model.label.depends_on_action:
        labelled = labelled.drop("cost").join(priced.rows.select("_key", "cost"), on="_key", how="left")
    by_month = labelled.with_columns(month=pl.col("at").dt.strftime("%Y-%m"))
    return [
        Month(
            month=str(month),
            labelled=rows.height,
            mean_label=_mean(rows, "label"),
            constant=_constant(lane, rows),
            loss=_mean(rows, "loss"),
            other_loss=_mean(rows, "other_loss") if _other_loss(lane) else None,
            cost=_mean(rows, "cost"),
        )
        for (month,), rows in by_month.partition_by("month", as_dict=True, maintain_order=True).items()
    ]


def _constant(lane: Lane, rows: pl.DataFrame) -> float:
    loss, labels = named(lane.operation.watch.loss, lane.operation.model.output), rows["label"].to_numpy()
    groups = None if lane.operation.model.group is None else rows["_group"].to_numpy()
    return float(np.nanmean(loss.best_constant(np.empty(0), labels, groups)))


def _days(tx: Transaction, lane: Lane) -> list[Day]:
    found = read_performance(tx, lane.project, lane.model, HARM_MONITOR)
    return [Day(row.block_end, row.excess, row.log_evidence) for row in found]


def first_champion(resources: Resources, lane: Lane) -> datetime | None:
    """When the lane's first champion began to serve."""
    with resources.database.reading() as tx:
        changes = registry.alias_history(tx, lane.project, lane.model, CHAMPION)
    return changes[0].from_at if changes else None


def _monitor_terms(resources: Resources, lane: Lane) -> float:
    """What excess the first champion's promise allows."""
    with resources.database.reading() as tx:
        monitor = find_monitor(tx, lane.project, lane.model, HARM_MONITOR)
    return monitor.allowed if monitor else 0.0
