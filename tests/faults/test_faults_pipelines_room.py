"""The disk is full, the graph is large, fifty processes write at once: nothing is lost, nothing is locked out, memory is bounded."""

import json
import os
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest

from loopline.clock import SystemClock
from loopline.errors import Conflict, Unavailable
from loopline.pipelines import reading
from loopline.pipelines.executions import cancel
from loopline.pipelines.prune import prune
from loopline.storage.statements import Session, Sql

HERE = Path(__file__).parent
_CHECK = Sql("pragma integrity_check")

pytestmark = pytest.mark.slow


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    return import_module("pipeline_site"), import_module("figures")


@contextmanager
def small_disk(path, megabytes):
    """A disk of that size at `path`, of this test alone."""
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path):
    """Leave no byte free."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
        try:
            while True:
                file.write(b"x")
        except OSError:
            pass


def submit_without_end(site):
    """Ends by what is raised."""
    while True:
        site.submit("squares", count=300, seconds=0.0)


def running_or_done(site, execution):
    """What can be read of it, also while nothing can be written."""
    with site.home.database.reading() as tx:
        return reading.get_execution(tx, execution).state, len(list(reading.steps_of(tx, execution)))


@pytest.mark.heavy
@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_told_and_work_goes_on_once_there_is_space(tmp_path, tools):
    module, figures = tools
    fills, recovery = figures.count(2, 20), []
    # SQLite's log of what is written is copied into the database when it has 16 MB: with no more disk than that it could never be.
    with (
        small_disk(tmp_path / "disk", 64) as disk,
        closing(module.Site(tmp_path, lease=1.0, name="full_disk", home=disk / "home")) as site,
    ):
        execution = site.submit("squares", count=20 * fills, seconds=0.05)
        ballast = disk / "ballast"
        site.worker("--grace", "1")
        for _ in range(fills):
            said = len(site.lines())
            site.until(lambda said=said: len(site.lines()) > said + 3 or site.state(execution) != "running")
            before = site.logs().count("database.full")
            fill(ballast)
            site.until(lambda before=before: site.logs().count("database.full") > before)
            assert running_or_done(site, execution)[0] == "running"
            with pytest.raises(Unavailable) as refused:
                submit_without_end(site)
            assert refused.value.code in {"database.full", "artifact.store_unavailable"}
            steps = done(site, execution)
            ballast.unlink()
            began = time.monotonic()
            site.until(lambda steps=steps: done(site, execution) > steps)
            recovery.append(time.monotonic() - began)
            forget_all_but(site, execution)
        site.until(lambda: site.state(execution) == "done")
        assert site.result(execution) == sum(number * number for number in range(20 * fills))
        module.check_once(site.events(execution))
        with closing(Session(site.home.database)) as session, session.transaction() as sql:
            assert sql.rows(_CHECK) == [("ok",)]
    assert all(worker.returncode in {-9, None} for worker in site.workers)  # it lived through all of it
    figures.tell("disk full", tried=fills, survived=len(recovery), recovery=recovery)


def forget_all_but(site, execution):
    """What was submitted until nothing more fitted would fill the disk for good."""
    database = site.home.database
    with database.reading() as tx:
        others = [one.execution for one in reading.find_executions(tx, limit=10_000) if one.execution != execution]
    for one in others:
        with suppress(Conflict), database.transaction() as tx:
            cancel(tx, site.home.engine, one)
    prune(database, SystemClock().now() + timedelta(days=1))


def done(site, execution):
    """How many steps are done."""
    with site.home.database.reading() as tx:
        return sum(one.state == "done" for one in reading.steps_of(tx, execution))


@pytest.mark.heavy
def test_fifty_processes_write_and_none_is_locked_out(tmp_path, tools):
    _, figures = tools
    writers, seconds = 50, figures.count(2, 60)
    program = [sys.executable, str(HERE / "writers_program.py"), str(tmp_path), str(writers), str(seconds)]
    said = json.loads(subprocess.run(program, capture_output=True, text=True, check=True, timeout=300).stdout)
    assert said["errors"] == []
    assert said["rows"] == said["commits"] >= writers
    assert said["least"] >= 1
    figures.tell(
        f"{writers} writers for {seconds} s", tried=said["commits"], survived=said["rows"],
        p50_ms=said["p50_ms"], p99_ms=said["p99_ms"], longest_ms=said["longest_ms"],
    )  # fmt: skip


@pytest.mark.heavy
def test_memory_does_not_grow_with_the_number_of_steps(tmp_path, tools):
    _, figures = tools
    few, many = 500, figures.count(2000, 10_000)
    program = [sys.executable, str(HERE / "memory_program.py"), str(tmp_path)]
    held = {}
    for count in (few, many):
        done = subprocess.run([*program, str(count)], capture_output=True, text=True, check=True, timeout=500)
        held[count] = json.loads(done.stdout)
        assert held[count]["state"] == "done"
        assert held[count]["result"] == count * (count - 1)
    grown = held[many]["peak_mb"] - held[few]["peak_mb"]
    assert grown * 1e6 < 5000 * (many - few)  # the list of the results themselves; nothing else of a step is held
    figures.tell(
        f"{many} steps", tried=many, survived=many, peak_mb=held[many]["peak_mb"], with_few_mb=held[few]["peak_mb"]
    )
