"""Logging from scripts: what was logged is there, whoever dies and however many log at once."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import loopline as ll
from loopline.config import Settings
from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.runs import tracking
from loopline.runs.home import RunHome
from loopline.runs.recovery import recover, stale
from loopline.runs.run import Run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOPLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOOPLINE_DURABLE", "0")
    monkeypatch.delenv("LOOPLINE_RUN", raising=False)
    return tmp_path / "home"


def found(run_id: str | None = None) -> list[Run]:
    opened = RunHome(Settings.read())
    recover(opened.database(), opened.journals)
    with opened.database().reading() as tx:
        return [tracking.get(tx, run_id)] if run_id else tracking.search(tx, None, order_by="started_at")


@pytest.fixture
def script() -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts Python code in a process of its own."""
    with ExitStack() as started:

        def start(text: str, *arguments: str) -> subprocess.Popen:
            command = [sys.executable, "-c", text, *arguments]
            return started.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            )

        yield start


def test_two_lines_log_a_run(home):
    with ll.track("churn", params={"depth": 3, "api_key": "abc", "max_tokens": 5}) as run:
        run.log(accuracy=0.9)
        for step in range(3):
            run.log_metric("loss", 1 / (step + 1), step=step)
        run.log_params(tags={"b", "a"}, where=Path("x"))
    [kept] = found()
    assert (kept.run_id, kept.experiment, kept.project, kept.status) == (run.id, "churn", "default", "finished")
    assert kept.params == {"depth": 3, "api_key": "***", "max_tokens": 5, "tags": ["a", "b"], "where": "x"}
    assert kept.metrics == {"accuracy": 0.9, "loss": 1 / 3}
    assert [(one.step, one.value) for one in kept.history if one.name == "loss"] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert kept.facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "polars" in json.loads(RunHome(Settings.read()).artifacts.get(kept.artifacts["environment.json"]))
    assert list((home / "runs").iterdir()) == []


def test_steps_count_themselves_for_each_metric(home):
    with ll.track("t") as run:
        run.log(a=1, b=10)
        run.log(a=2)
        run.log({"a": 5}, step=7)
        run.log(a=3, b=20)
    values = {(one.name, one.step): one.value for one in found(run.id)[0].history}
    assert values == {("a", 0): 1, ("a", 1): 2, ("a", 7): 5, ("a", 8): 3, ("b", 0): 10, ("b", 1): 20}


def test_every_float_survives(home):
    values = [math.nan, math.inf, -math.inf, 5e-324, 0.1]
    with ll.track("t") as run:
        for value in values:
            run.log_metric("m", value)
    kept = [one.value for one in found(run.id)[0].history]
    assert [repr(value) for value in kept] == [repr(value) for value in values]


def test_a_crash_marks_the_run_failed_with_the_error(home):
    run = ll.track("t")

    def crash() -> None:
        with run:
            run.log(a=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    [kept] = found()
    assert (kept.status, kept.facts["error"], kept.metrics) == (
        "failed",
        "ZeroDivisionError",
        {"a": 1},
    )
    assert b"raise ZeroDivisionError" in RunHome(Settings.read()).artifacts.get(kept.artifacts["traceback.txt"])
    with pytest.raises(Conflict):
        run.log(a=2)


def test_plain_calls_end_with_the_process(home, script):
    assert script("import loopline as ll; ll.track('good').log(a=1)").wait(60) == 0
    assert script("import loopline as ll; ll.track('bad').log(a=1); raise KeyError('x')").wait(60) == 1
    kept = {run.experiment: run for run in found()}
    assert (kept["good"].status, kept["bad"].status) == ("finished", "failed")
    assert kept["bad"].facts["error"] == "KeyError: 'x'"


KILLED = """
import sys, loopline as ll
run = ll.track("t", params={"a": 1}).__enter__()
for step in range(100_000):
    run.log_metric("m", step / 7)
    sys.stdout.write(f"{step}\\n"); sys.stdout.flush()
"""


def test_what_was_logged_survives_kill_9_and_the_run_is_stale(home, script):
    process = script(KILLED)
    for _ in range(3000):
        told = process.stdout.readline()
    journals = home / "runs"
    assert stale(journals) == set()
    process.send_signal(signal.SIGKILL)
    told = (process.stdout.read().split("\n")[:-1] or [told])[-1]
    process.wait()
    [kept] = found()
    assert kept.status == "running"
    assert stale(journals) == {kept.run_id}
    values = [one.value for one in kept.history]
    assert len(values) in {int(told) + 1, int(told) + 2}  # the one that was not yet told of may be there
    assert values == [step / 7 for step in range(len(values))]
    assert [len(run.history) for run in found()] == [len(values)]


MANY = """
import sys, threading, loopline as ll
def log(run, thread):
    for step in range(200):
        run.log_metric(f"m{thread}", step, step=step)
with ll.track("many", params={"number": int(sys.argv[1])}) as run:
    threads = [threading.Thread(target=log, args=(run, thread)) for thread in range(4)]
    for one in threads: one.start()
    for one in threads: one.join()
    run.log_params(late=sys.argv[1])
"""


def test_processes_and_threads_log_at_once_into_a_new_home(home, script):
    processes = [script(MANY, str(number)) for number in range(5)]
    assert [process.wait(120) for process in processes] == [0] * 5
    kept = found()
    assert sorted(run.params["number"] for run in kept) == [0, 1, 2, 3, 4]
    expected = [(f"m{thread}", step, step) for thread in range(4) for step in range(200)]
    assert all([(one.name, one.step, one.value) for one in run.history] == expected for run in kept)


def test_threads_that_let_steps_count_lose_none(home):
    with ll.track("t") as run:
        threads = [threading.Thread(target=lambda: [run.log(m=1) for _ in range(300)]) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert [one.step for one in found(run.id)[0].history] == list(range(1200))


def test_values_are_readable_while_the_run_goes_on(home):
    run = ll.track("t")
    run.log(a=1)
    deadline = time.monotonic() + 20
    while not found(run.id)[0].metrics:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found(run.id)[0].status == "running"
    run.finish()


def test_a_forked_child_logs_into_the_same_run(home):
    with ll.track("t") as run:
        child = os.fork()
        if not child:
            run.log_metric("m", 7, step=7)
            run.log_params(child=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    [kept] = found()
    assert (kept.metrics, kept.params) == ({"m": 7}, {"child": True})


def test_runs_inside_are_children_and_a_started_process_joins(home, script, monkeypatch):
    with ll.track("search") as search, ll.track("trial") as trial:
        trial.log(a=1)
    assert found(trial.id)[0].parent == search.id
    outer = ll.track("outer")
    monkeypatch.setenv("LOOPLINE_RUN", outer.id)
    two = "import loopline as ll\nwith ll.track('x', {'p': 1}) as r: r.log(a=1)\nwith ll.track('y') as r: r.log(a=2)"
    assert script(two).wait(60) == 0
    outer.finish()
    kept = {run.experiment: run for run in found()}
    assert (kept["outer"].metrics, kept["outer"].params) == ({"a": 1}, {"p": 1})
    assert (kept["y"].parent, kept["y"].metrics) == (outer.id, {"a": 2})
    assert "x" not in kept


def test_artifacts_and_inputs_are_kept_by_content(home, tmp_path):
    (tmp_path / "folder" / "in").mkdir(parents=True)
    (tmp_path / "folder" / "in" / "a.txt").write_bytes(b"A")
    (tmp_path / "model.pkl").write_bytes(b"M")
    with ll.track("t") as run:
        run.log_artifact(tmp_path / "model.pkl")
        run.log_artifact(str(tmp_path / "folder"), name="all")
        run.log_input(tmp_path / "model.pkl")
        with pytest.raises(NotFound):
            run.log_artifact("nothing.pkl")
    [kept] = found()
    store = RunHome(Settings.read()).artifacts
    assert {
        name: store.get(digest) for name, digest in kept.artifacts.items() if "." in name and "env" not in name
    } == {
        "model.pkl": b"M",
        "all/in/a.txt": b"A",
    }
    assert kept.inputs[0].version == kept.artifacts["model.pkl"]


@pytest.mark.parametrize("value", ["0.5", None, [1, 2], object()])
def test_what_is_no_number_is_refused_and_changes_nothing(home, value):
    with ll.track("t") as run:
        with pytest.raises(InvalidInput, match="no number"):
            run.log(a=value)
        run.log(a=1)
    assert [(one.step, one.value) for one in found(run.id)[0].history] == [(0, 1)]


@pytest.mark.parametrize("name", ["", "  ", None])
def test_a_run_needs_a_name(home, name):
    with pytest.raises(InvalidInput):
        ll.track(name)
    assert not home.exists()
