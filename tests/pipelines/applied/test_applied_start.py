"""Ticks become executions of the pinned code: once each, with the window and params, and what refuses is recorded."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial

import msgspec
import pytest
from tests.pipelines.applied.conftest import AT, FILE
from tests.pipelines.schedules.conftest import HandClock

from loopline.app.healing import start_postponed
from loopline.errors import InvalidInput, Unavailable
from loopline.executors import planner as planner_module
from loopline.executors.planner import LocalPlanner
from loopline.incidents.freeze import freeze, unfreeze
from loopline.pipelines import reading
from loopline.pipelines.applied import applied
from loopline.pipelines.applied.start import Starter
from loopline.pipelines.engine import Engine
from loopline.pipelines.executions import cancel
from loopline.pipelines.healing import postponed
from loopline.pipelines.healing.remedies import skip_window
from loopline.pipelines.schedules import schedule
from loopline.pipelines.schedules.scheduler import Scheduler
from loopline.pipelines.schedules.signal import announce
from loopline.pipelines.schedules.tick import ticks
from loopline.values import Window

HOUR = timedelta(hours=1)


@pytest.fixture
def planner(tmp_path) -> Iterator[LocalPlanner]:
    with closing(LocalPlanner(str(tmp_path / "artifacts"), tmp_path / "code", durable=False)) as made:
        yield made


@pytest.fixture
def starter(artifacts, planner) -> Starter:
    return Starter(Engine(artifacts, HandClock(AT)), planner, "shop")


@pytest.fixture
def step(database, starter, tables) -> Callable:
    """One step of a scheduler, so many hours later."""

    def make(hours: float) -> list:
        clock = HandClock(AT + hours * HOUR)
        return Scheduler(database, "shop", start=starter.start, clock=clock, tables=tables).step()

    return make


def executions(database) -> list[reading.ExecutionRow]:
    with database.reading() as tx:
        return sorted(reading.find_executions(tx, limit=1000), key=lambda one: one.sequence)


def test_a_tick_submits_one_execution_with_its_window_and_params(database, apply, written, step):
    made = apply(written(FILE))
    decided = step(2.5)
    assert [one.state for one in decided] == ["started", "started"]
    step(2.5)
    found = executions(database)
    assert [one.window for one in found] == [(AT, AT + HOUR), (AT + HOUR, AT + 2 * HOUR)]
    assert {(one.project, one.pipeline, one.origin) for one in found} == {("shop", "sales", "schedule")}
    assert {one.params["region"] for one in found} == {"north"}
    assert [one.created_by for one in found] == [one.id for one in decided]
    with database.reading() as tx:
        assert {tx.exec_driver_sql("select distinct code from execution").scalar()} == {made.code}


class Watched:
    """A planner that counts the connections in use while it plans."""

    def __init__(self, planner, database):
        self._planner, self._database, self.used = planner, database, []

    def plan(self, *asked):
        self.used.append(self._database.engine.pool.checkedout())
        return self._planner.plan(*asked)


def test_bodies_are_asked_once_and_while_nothing_is_held(database, artifacts, apply, written, planner, tables):
    apply(written(FILE))
    watched = Watched(planner, database)
    starter = Starter(Engine(artifacts, HandClock(AT)), watched, "shop")
    with database.transaction() as tx:
        announce(tx, project="shop", kind="webhook", key="k", subject={"hook": "go"}, at=AT)
    put_off(database, "ex_gone", {"region": "south"})
    decided = Scheduler(
        database, "shop", start=starter.start, clock=HandClock(AT + 2.5 * HOUR), tables=tables,
        prepare=partial(starter.prepare, database),
    ).step()  # fmt: skip
    assert [one.state for one in decided] == ["started"] * 3
    assert watched.used == [0, 0, 0]
    assert start_postponed(database, Engine(artifacts, HandClock(AT + HOUR)), watched) == 1
    assert watched.used == [0, 0, 0, 0]
    assert len(executions(database)) == 4


def test_what_a_body_refuses_when_it_is_prepared_is_told_by_its_tick(database, artifacts, apply, written, planner):
    apply(written(FILE))
    watched = Watched(planner, database)
    starter = Starter(Engine(artifacts, HandClock(AT)), watched, "shop")
    with database.transaction() as tx:
        when = schedule.find(tx, "shop", pipeline="sales")[0].declared
        wrong = msgspec.structs.replace(when, params={"nobody": 1})
        schedule.declare(tx, project="shop", pipeline="sales", schedules=[wrong], at=AT, actor="ann")
    clock = HandClock(AT + 1.5 * HOUR)
    mine = Scheduler(database, "shop", start=starter.start, clock=clock, prepare=partial(starter.prepare, database))
    [refused] = mine.step()
    assert (refused.state, watched.used) == ("refused", [0])
    assert refused.reason.endswith("[pipeline.params]")


def test_the_same_tick_is_the_same_execution(database, apply, written, starter):
    apply(written(FILE))
    window = Window(AT, AT + HOUR)
    with database.transaction() as tx:
        first = starter.start(tx, "sales", {"region": "north"}, window, AT, tick="tick_1")
        assert starter.start(tx, "sales", {"region": "north"}, window, AT, tick="tick_1") == first
        assert starter.start(tx, "sales", {"region": "north"}, window, AT, tick="tick_2") != first
    assert len(executions(database)) == 2


def test_what_was_edited_counts_when_it_is_applied(database, apply, written, step):
    first = apply(written(FILE))
    path = written(FILE.replace("return read(window, region)", "return read(window, region + '!')"))
    step(1)
    second = apply(path)
    step(2)
    with database.reading() as tx:
        codes = tx.exec_driver_sql("select code from execution order by sequence").scalars().all()
        bindings = tx.exec_driver_sql(
            "select s.bindings from step s join execution e on e.id = s.execution order by e.sequence"
        )
        told = ["north!" in one for one in bindings.scalars()]
    assert codes == [first.code, second.code]
    assert told == [False, True]


FUSSY = """
import os

import loopline as ll


@ll.step
def one(window: ll.Window) -> int:
    return 1


@ll.pipeline(schedule=ll.interval("1h"))
def fussy(window: ll.Window):
    if window.end.hour == 14:
        raise RuntimeError("not at two")
    if window.end.hour == 15:
        os._exit(3)
    if window.end.hour == 16:
        while True:
            pass
    return one(window)


@ll.pipeline(schedule=ll.interval("1h"))
def plain(window: ll.Window):
    return one(window)
"""


def test_a_pipeline_that_refuses_leaves_a_tick_that_says_so_and_others_go_on(
    database, apply, written, step, monkeypatch
):
    monkeypatch.setattr(planner_module, "TRACE_SECONDS", 1.0)
    apply(written(FUSSY))
    step(4.5)
    with database.reading() as tx:
        names = {one.id: one.pipeline for one in schedule.find(tx, "shop")}
        found = ticks(tx, list(names))
    told = {(names[one.schedule], one.fire_at.hour): (one.state, one.reason) for one in found}
    assert {hour: told["plain", hour][0] for hour in (13, 14, 15, 16)} == dict.fromkeys((13, 14, 15, 16), "started")
    assert told["fussy", 13][0] == "started"
    assert [told["fussy", hour][0] for hour in (14, 15, 16)] == ["refused"] * 3
    assert "RuntimeError: not at two [pipeline.body_failed]" in told["fussy", 14][1]
    assert "[pipeline.body_crashed]" in told["fussy", 15][1]
    assert "[pipeline.body_slow]" in told["fussy", 16][1]
    assert len(executions(database)) == 5


def test_a_pipeline_that_is_out_of_force_is_refused_and_params_too(database, apply, written, starter):
    made = apply(written(FILE))
    with database.transaction() as tx:
        for params, said in (({"region": 3}, "no str"), ({}, "region"), ({"region": "n", "x": 1}, "'x'")):
            with pytest.raises(InvalidInput, match=said):
                starter.start(tx, "sales", params, Window(AT, AT + HOUR), AT, tick="tick_1")
        applied.remove(tx, made.file, project="shop", at=AT, actor="ann")
    assert executions(database) == []


def test_code_that_cannot_be_had_is_due_again(database, apply, written, step, tmp_path, artifacts):
    made = apply(written(FILE))
    content = artifacts.get(made.code)
    artifacts.remove(made.code)
    assert step(1) == []
    assert executions(database) == []
    assert artifacts.put(content) == made.code
    assert [one.state for one in step(1)] == ["started"]


def test_a_window_goes_where_one_may_be_left_out(database, apply, written, step):
    apply(
        written(
            FILE.replace("window: ll.Window, region: str):", "window: ll.Window | None = None, region: str = '-'):")
        )
    )
    step(1)
    assert [one.window for one in executions(database)] == [(AT, AT + HOUR)]


def test_a_signal_starts_without_a_window(database, apply, written, step):
    apply(written(FILE))
    with database.transaction() as tx:
        announce(tx, project="shop", kind="webhook", key="k", subject={"hook": "go"}, at=AT)
    assert [one.state for one in step(0.1)] == ["started"]
    [found] = executions(database)
    assert (found.pipeline, found.window, found.params) == ("note", None, {"text": "-"})


def put_off(database, execution, params):
    with database.transaction() as tx:
        remedy = skip_window(backfill_after="1h")
        postponed.postpone(
            tx, remedy, project="shop", pipeline="sales", params=params, window=Window(AT, AT + HOUR),
            execution=execution, at=AT, why="late",
        )  # fmt: skip


def test_a_window_that_was_put_off_is_started_by_the_code_in_force(database, apply, written, starter):
    apply(written(FILE))
    put_off(database, "ex_gone", {"region": "south"})
    assert postponed.start_due(database, "shop", starter.start_window, now=AT) == []
    [begun] = postponed.start_due(database, "shop", starter.start_window, now=AT + HOUR)
    assert postponed.start_due(database, "shop", starter.start_window, now=AT + HOUR) == []
    [found] = executions(database)
    assert (found.execution, found.origin, found.params["region"]) == (begun.execution, "postponed", "south")


def test_a_freeze_holds_windows_that_were_put_off(database, artifacts, planner, apply, written):
    apply(written(FILE))
    put_off(database, "ex_gone", {"region": "south"})
    engine = Engine(artifacts, HandClock(AT + HOUR))
    with database.transaction() as tx:
        freeze(tx, project="shop", at=AT, by="ann", reason="a release")
    assert start_postponed(database, engine, planner) == 0
    assert executions(database) == []
    with database.transaction() as tx:
        unfreeze(tx, project="shop", at=AT, by="ann", reason="done")
    assert [start_postponed(database, engine, planner) for _ in range(2)] == [1, 0]
    assert [one.origin for one in executions(database)] == ["postponed"]


def test_a_window_of_a_pipeline_out_of_force_is_that_execution_again_or_refused(database, apply, written, starter):
    made = apply(written(FILE))
    with database.transaction() as tx:
        for number, region in enumerate(("south", "north")):
            starter.start(tx, "sales", {"region": region}, Window(AT, AT + HOUR), AT, tick=f"tick_{number}")
        applied.remove(tx, made.file, project="shop", at=AT, actor="ann")
    south = executions(database)[0].execution
    with database.transaction() as tx:
        cancel(tx, starter._engine, south)
    put_off(database, "ex_gone", {"region": "south"})
    put_off(database, south, {"region": "south"})
    [begun] = postponed.start_due(database, "shop", starter.start_window, now=AT + HOUR)
    again = executions(database)[-1]
    assert (again.execution, again.again, again.params["region"]) == (begun.execution, south, "south")
    with database.reading() as tx:
        assert postponed.waiting(tx, "shop") == []
        told = tx.exec_driver_sql("select why from postponed where execution is null").scalar()
    assert told.endswith("[pipeline.not_in_force]")


def test_the_planner_keeps_a_few_codes_and_answers_after_its_process_was_killed(apply, written, planner):
    codes = [apply(written(f"{FILE}\nNUMBER = {number}\n")).code for number in range(planner_module.WARM + 2)]
    function = f"{written(FILE).stem}:sales"
    window = Window(AT, AT + HOUR)
    for code in codes:
        planned = planner.plan(code, function, {"region": "north"}, window)
        assert (planned.code, planned.window, planned.pipeline) == (code, window, "sales")
    assert list(planner._warm) == codes[-planner_module.WARM :]
    planner._warm[codes[-1]]._process.kill()
    assert planner.plan(codes[-1], function, {"region": "north"}, window).code == codes[-1]
    planner.close()
    with pytest.raises(Unavailable):
        planner.plan(codes[-1], function, {"region": "north"}, window)
