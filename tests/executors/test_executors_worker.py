"""A worker over processes of its own: in which order it takes what is ready."""

from contextlib import closing

from loopline.config import Settings
from loopline.executors import worker as worker_module
from loopline.executors.local import LocalExecutor
from loopline.executors.worker import Worker
from loopline.pipelines import reading
from loopline.pipelines.executions import submit
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.load import load_pipeline
from loopline.pipelines.planning import plan

FILE = """
import time
import loopline as ll

@ll.step(cores=1, reuse=False)
def small(number: int) -> int:
    time.sleep(0.2)
    return number

@ll.step(cores=2, reuse=False)
def large(number: int) -> int:
    return number

@ll.pipeline
def many(count: int):
    return small.each(list(range(count)))

@ll.pipeline
def two(number: int):
    return small(small(number))

@ll.pipeline
def one(number: int):
    return large(number)
"""


def test_a_large_step_starts_before_the_small_ones_that_came_later(tmp_path, monkeypatch):
    monkeypatch.setattr(worker_module, "CROWDED_SECONDS", 0.3)
    (tmp_path / "sizes.py").write_text(FILE)
    home = PipelineHome(Settings.read(tmp_path / "home", {"LOOPLINE_DURABLE": "0"}))

    def submitted(name, **params):
        planned = plan(load_pipeline(f"{tmp_path}/sizes.py:{name}"), params, home.engine.artifacts)
        with home.database.transaction() as tx:
            return submit(tx, home.engine, planned)[0]

    before, alone, later = submitted("many", count=3), submitted("one", number=7), submitted("many", count=30)
    executor = LocalExecutor(home.settings.artifacts_url, tmp_path / "executor", cores=2, durable=False)

    def over():
        with home.database.reading() as tx:
            return not reading.find_executions(tx, state="running", limit=1)

    with closing(Worker(home.engine, home.database, executor)) as worker:
        worker.run(over)
    with home.database.reading() as tx:
        [begun] = [one.id for one in reading.events_of(tx, alone) if one.kind == "started"]
        others = [one.id for one in reading.events_of(tx, later) if one.kind == "started"]
        assert reading.get_execution(tx, before).state == "done"
    assert len(others) == 30
    assert sum(other > begun for other in others) > 15
    home.close()


def test_a_worker_that_is_stopping_takes_nothing_over(tmp_path):
    (tmp_path / "twos.py").write_text(FILE)
    home = PipelineHome(Settings.read(tmp_path / "home", {"LOOPLINE_DURABLE": "0"}))
    planned = plan(load_pipeline(f"{tmp_path}/twos.py:two"), {"number": 7}, home.engine.artifacts)
    with home.database.transaction() as tx:
        execution = submit(tx, home.engine, planned)[0]
    executor = LocalExecutor(home.settings.artifacts_url, tmp_path / "executor", cores=2, durable=False)

    def states():
        with home.database.reading() as tx:
            return [one.state for one in reading.steps_of(tx, execution)]

    with closing(Worker(home.engine, home.database, executor)) as worker:
        worker.run(lambda: states()[0] == "running")
        assert states() == ["done", "ready"]
        worker.run(lambda: states()[1] == "done")
    with home.database.reading() as tx:
        assert reading.get_execution(tx, execution).state == "done"
        kinds = [one.kind for one in reading.events_of(tx, execution)]
    assert kinds == ["submitted", "started", "done", "started", "done", "ended"]
    home.close()
