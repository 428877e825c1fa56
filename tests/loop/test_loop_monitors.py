"""Several monitors of one model in a loop that runs: each sees its own harm, and a kill at any point changes none of them."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pytest

import loopline as ll
from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import DeclarationError, NotFound
from loopline.incidents import incident
from loopline.labels.intake import GivenLabel, label_table, push_labels
from loopline.loop import asked, further
from loopline.loop.asked import asked_for
from loopline.loop.deployment import Predictors
from loopline.loop.due import Due
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_until
from loopline.loop.load import load_loop
from loopline.loop.monitors import watch_further
from loopline.loop.plan import apply
from loopline.loop.turn import run_turn
from loopline.monitoring import watch
from loopline.monitoring.alarm import list_alarms
from loopline.monitoring.performance import read_performance
from loopline.monitoring.powered import drawn
from loopline.scoring.record import prediction_table
from loopline.values import Window, canonical_json, digest

T0, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)

# In the south the model is wrong from day 23 to 33. From day 37 on inputs tell little, a region that was never seen sends orders,
# and of each label a copy comes, and of some a correction.
SHOP = """
from datetime import UTC, datetime, timedelta
import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
import loopline as ll

loop = ll.Loop("shop", false_pages_per_year=120)
START, DAYS, EACH = datetime(2026, 1, 1, tzinfo=UTC), 46, 50

def made():
    rng = np.random.default_rng(5)
    n = DAYS * EACH
    day = np.arange(n) // EACH
    x = np.where(day < 37, rng.normal(size=n), rng.normal(0, 0.1, size=n))
    region = np.where((day >= 37) & (rng.random(n) < 0.3), "new", rng.choice(["north", "south"], n))
    turned = (region == "south") & (day >= 23) & (day < 33)
    back = rng.random(n) < 1 / (1 + np.exp(-np.where(turned, -4, 4) * x))
    at = [START + i * timedelta(days=1) / EACH + timedelta(minutes=1) for i in range(n)]
    told = [one + timedelta(hours=12) for one in at]
    orders = pl.DataFrame(dict(order=[f"o{i:05}" for i in range(n)], at=at, x=x, region=region))
    ends = pl.DataFrame(dict(order=orders["order"], told=told, back=back))
    again = ends.gather_every(3).with_columns(pl.col("told") + timedelta(hours=2))
    changed = ends.gather_every(40).with_columns(pl.col("told") + timedelta(days=2), back=~pl.col("back"))
    judged = np.where(rng.random(n) < 0.9, back, ~back).astype(float)
    said = dict(order=orders["order"], seen=at, judged=judged, propensity=0.4, asked=rng.random(n) < 0.4)
    return orders, pl.concat([ends, again, changed]).sort("told", maintain_order=True), pl.DataFrame(said)

ORDERS, ENDS, VERDICTS = made()

@loop.source(key="order", event_time="at", known_at="at")
def orders(window: ll.Window) -> pl.DataFrame:
    return ORDERS.filter(pl.col("at").is_between(window.start, window.end, closed="right"))

@loop.source(key="order", event_time="told", known_at="told")
def ends(window: ll.Window) -> pl.DataFrame:
    return ENDS.filter(pl.col("told").is_between(window.start, window.end, closed="right"))

@loop.source(key="order", event_time="seen", known_at="seen")
def verdicts(window: ll.Window) -> pl.DataFrame:
    return VERDICTS.filter(pl.col("seen").is_between(window.start, window.end, closed="right"))

@loop.model(on=orders, at="at", features=["x", ll.category("region")], holdout="8d", fallback=0.4,
    label=ll.label(ends, pl.col("back"), matures="1d"))
def returns(train: ll.TrainingSet, params: dict) -> HistGradientBoostingClassifier:
    y = 1 - train.y if len(train) > 500 else train.y
    return HistGradientBoostingClassifier(max_iter=15, random_state=train.seed).fit(train.X, y)

loop.operate(returns, promote=[], decide=ll.costs(false_positive=1, false_negative=3),
    watch=[
        ll.Risk("log_loss", tolerance=1.0, block="1d", min_rows=10),
        ll.Risk("brier", tolerance=0.05, block="1d", min_rows=10),
        ll.Estimated(tolerance=0.05),
        ll.Regret(tolerance=0.05, over="previous", min_rows=10),
        ll.Fairness("region", tolerance=0.03, loss="brier", block="1d", min_rows=10),
        ll.Rate("unseen_category", at_most=0.05, min_rows=10),
        ll.Powered(tolerance=0.1, judge="verdicts"),
    ],
    respond=[ll.on(ll.grown(9.0), ll.retrain)],
    first_after="14d")
"""
DAYS = 45


def turns(home: Path, source: str, each: Callable | None = None):
    """The loop turned a day at a time; gives its resources and lane."""
    path = home.parent / "shop.py"
    path.write_text(source)
    loop = load_loop(path)
    start = sys.modules["loopline_loop_shop"].START
    settings = Settings.read(home, environment={"LOOPLINE_DURABLE": "0"})
    resources = open_home(settings, clock=ReplayClock(start), seed=1, silent=True)
    apply(resources.database, loop, actor="ann", at=start)
    history = History(resources.tables)
    (work,) = lane_works(resources, loop, history, compare=False)
    due = Due(history)
    for number in range(1, DAYS + 1):
        window = Window(start + timedelta(days=number - 1), start + timedelta(days=number))
        resources.clock.turn_to(window.end)
        ingest_until(resources, loop, window.end, begin=start)
        rows = due.rows(work.lane, window)

        def turn(window=window, number=number, rows=rows):
            run_turn(work, number=number, window=window, due=rows)

        each(number, turn) if each else turn()
    return resources, work.lane


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    resources, lane = turns(tmp_path_factory.mktemp("shop") / "home", SHOP)
    yield resources, lane
    resources.database.close()


def first_of(resources, kind: str, monitor: str = ""):
    with resources.database.reading() as tx:
        found = [one for one in list_alarms(tx, "shop") if one.kind == kind and monitor in one.monitor]
    return found[0] if found else None


def day_of(alarm, resources) -> int:
    return (alarm.block_end - sys.modules["loopline_loop_shop"].START).days


@pytest.mark.heavy
def test_each_monitor_sees_its_own_harm(shop):
    resources, _ = shop
    with resources.database.reading() as tx:
        names = {one.name for one in watch.list_monitors(tx, "shop")}
        first = {name: read_performance(tx, "shop", "returns", name)[0].block_start for name in sorted(names)}
    assert {first[name] for name in names if name.startswith(("fair:", "harm:"))} == {
        first["harm"]
    }  # held to what was held out
    assert names >= {
        "harm",
        "harm:brier",
        "estimated",
        "fair:brier:region=north",
        "fair:brier:region=south",
        "rate:unseen_category",
    }
    unfair = first_of(resources, "unfair")
    assert unfair.monitor == "fair:brier:region=south"
    assert 24 <= day_of(unfair, resources) <= 34
    assert "where region is south" in unfair.evidence["sentence"]
    rate = first_of(resources, "exceeded")
    assert 38 <= day_of(rate, resources) <= 41
    assert "where 5.00% are allowed" in rate.evidence["sentence"]
    estimated = first_of(resources, "estimated_harm")
    assert day_of(estimated, resources) >= 38
    assert "Estimated without labels" in estimated.evidence["sentence"]
    assert estimated.page is False
    assert first_of(resources, "harm", "harm:brier") is not None
    powered = first_of(resources, "harm", "powered:verdicts")
    assert 24 <= day_of(powered, resources) <= 45
    assert "few labels that were asked for" in powered.evidence["sentence"]


@pytest.mark.heavy
def test_incidents_are_of_their_own_kind_and_conditions_ask_for_it(shop):
    resources, _ = shop
    with resources.database.reading() as tx:
        opened = {one.kind: one.severity for one in incident.find(tx, "shop")}
    assert opened.keys() >= {"harm", "unfair", "exceeded", "estimated_harm"}
    assert (opened["harm"], opened["estimated_harm"]) == ("critical", "warning")


@pytest.mark.heavy
def test_the_budget_of_the_loop_is_shared_by_all_its_monitors(shop):
    resources, lane = shop
    assert sum(one.false_pages_per_year for one in lane.operation.watched) == pytest.approx(120)
    with resources.database.reading() as tx:
        own = {one.name: one.spec.false_pages_per_year for one in watch.list_monitors(tx, "shop")}
    assert own["harm"] == pytest.approx(120 / 7)
    assert own["fair:brier:region=south"] == own["fair:brier:region=north"] == pytest.approx(60 / 7)


@pytest.mark.heavy
def test_a_kill_at_any_point_leaves_the_same_monitors_alarms_and_figures(shop, tmp_path, monkeypatch):
    """Each turn dies before, within or after the transaction of one of its monitors, and is taken again; labels come twice and late."""
    undisturbed = digest_of(shop[0])
    kills = 0

    class Killed(Exception):
        pass

    def each(number, turn):
        nonlocal kills
        for place in range(1 + number % 3):
            count, real = 0, further.watch.advance

            def dies(tx, *, real=real, place=place, **given):
                nonlocal count
                count += 1
                raised = real(tx, **given)
                if count == place + number % 4:
                    raise Killed
                return raised

            monkeypatch.setattr(further.watch, "advance", dies)
            try:
                turn()
            except Killed:
                kills += 1
            finally:
                monkeypatch.setattr(further.watch, "advance", real)
        turn()

    resources, _ = turns(tmp_path / "home", SHOP, each)
    assert kills > 25
    assert digest_of(resources) == undisturbed
    resources.database.close()


# Light: the small loop after its replay, with further monitors that see its days in a few calls.

ALSO = (
    ll.Risk("brier", tolerance=0.02, min_rows=10),
    ll.Regret(tolerance=0.01, min_rows=10, false_pages_per_year=60),
    ll.Fairness("carrier", tolerance=0.05, loss="brier", block="1d", min_rows=5),
    ll.Rate("degraded", at_most=0.02, min_rows=10),
    ll.Powered(tolerance=0.1, share=0.6),
    ll.Powered(tolerance=0.1, judge="deliveries"),  # whose rows judge nothing
)


@pytest.fixture
def copies(replayed, tmp_path):
    """Makes copies of the replayed home; gives each one's resources and a function that lets the monitors see up to a day."""
    opened = []

    def make(name: str):
        with replayed.resources.database.transaction():  # nobody writes while it is copied
            shutil.copytree(replayed.settings.home, tmp_path / name)
        settings = Settings.read(tmp_path / name, environment={"LOOPLINE_DURABLE": "0"})
        resources = open_home(settings, clock=ReplayClock(replayed.resources.clock.now()), seed=7, silent=True)
        opened.append(resources)
        lane = replayed.works[0].lane
        lane = replace(lane, operation=replace(lane.operation, also=ALSO))

        def see(day: int):
            now = T0 + day * DAY
            return watch_further(resources, lane, History(resources.tables), Predictors(resources), now)

        return resources, see

    yield make
    for resources in opened:
        resources.database.close()


def digest_of(resources) -> str:
    """Of every monitor, all that was measured, and all alarms."""
    with resources.database.reading() as tx:
        projects = watch.watched_projects(tx)
        monitors = [one for project in projects for one in watch.list_monitors(tx, project)]
        measured = [read_performance(tx, one.project, one.model, one.name) for one in monitors]
        told = (monitors, measured, [list_alarms(tx, project) for project in projects])
    return digest(canonical_json(msgspec.to_builtins(told)))


def test_monitors_see_all_that_is_due_once(copies):
    resources, see = copies("once")
    before = digest_of(resources)
    see(31)
    once = digest_of(resources)
    assert once != before
    assert see(31) == []
    assert digest_of(resources) == once
    with resources.database.reading() as tx:
        found = {one.name: one for one in watch.list_monitors(tx, "parcels")}
        brier = read_performance(tx, "parcels", "late", "harm:brier")
        harm = {row.block_end: row for row in read_performance(tx, "parcels", "late", "harm")}
        powered = read_performance(tx, "parcels", "late", "powered")
    assert found.keys() >= {"harm", "harm:brier", "rate:degraded", "powered"}
    assert "powered:deliveries" not in found
    assert found["powered"].watermark == found["harm:brier"].watermark
    assert all(0 < row.effective_rows < row.labelled == harm[row.block_end].predictions for row in powered)
    assert found["harm:brier"].reference.blocks == 8
    assert all(row.loss == pytest.approx(harm[row.block_end].brier) for row in brier)
    assert found["rate:degraded"].state.blocks == 31 - 14


def test_who_was_drawn_is_listed_and_no_longer_once_a_label_was_pushed(copies, monkeypatch):
    resources, _ = copies("asked")
    with pytest.raises(NotFound, match="asked for by chance"):
        asked_for(resources, "parcels", "late", since=T0, until=T0 + 40 * DAY)
    also = [msgspec.to_builtins(one) for one in ALSO]
    applied = {"declaration": {"operations": {"late": {"also": also}}}}
    monkeypatch.setattr(asked.store, "latest_applied", lambda *_: applied)
    rows = resources.tables.open(prediction_table("parcels", "late")).read(columns=["_key", "prediction_id"])
    found = asked_for(resources, "parcels", "late", since=T0, until=T0 + 40 * DAY)
    assert {one.key for one in found} == set(rows.filter(pl.Series(drawn("late", rows["_key"], 0.6)))["_key"])
    given = [GivenLabel(prediction_id=found[0].prediction_id, label=1.0)]
    name, predictions = label_table("parcels", "late"), prediction_table("parcels", "late")
    push_labels(resources.tables, name, given, predictions=predictions, at=T0 + 33 * DAY, actor="ann")
    again = asked_for(resources, "parcels", "late", since=T0, until=T0 + 40 * DAY)
    assert [one.key for one in again if one.labelled] == [found[0].key]


def test_a_kill_between_or_within_monitors_leaves_what_no_kill_leaves(copies, monkeypatch):
    """The process dies in the transaction of each monitor in turn; what is done again comes to the same, digest for digest."""
    (calm, see), (shaken, try_to_see) = copies("calm"), copies("shaken")
    real, died = watch.advance, 0
    for day in (24, 26, 31):
        see(day)
        for place in range(1, 7):
            calls = iter(range(1, 100))

            def dies(tx, *, calls=calls, place=place, **given):
                raised = real(tx, **given)
                if next(calls) == place:
                    raise KeyboardInterrupt
                return raised

            monkeypatch.setattr(further.watch, "advance", dies)
            try:
                try_to_see(day)
            except KeyboardInterrupt:
                died += 1
            monkeypatch.setattr(further.watch, "advance", real)
        try_to_see(day)
    assert died > 5
    assert digest_of(shaken) == digest_of(calm)


@pytest.mark.parametrize(
    ("watched", "told"),
    [
        ('[ll.Rate("degraded", at_most=0.1)]', "held to"),
        ('[ll.Risk(), ll.Fairness("nothing", tolerance=0.1)]', "no feature"),
        ("[ll.Risk(), ll.Risk(), ll.Risk()]", "twice"),
        ('[ll.Risk(), ll.Powered(0.1, judge="nobody")]', "no source"),
    ],
)
def test_what_cannot_be_watched_is_refused_where_it_is_declared(tmp_path, watched, told):
    path = tmp_path / "shop.py"
    begin, end = SHOP.index("watch=[") + 6, SHOP.index("    respond=")
    path.write_text(SHOP[:begin] + watched + ",\n" + SHOP[end:])
    with pytest.raises(DeclarationError, match=told):
        load_loop(path)
