"""Workers are killed, frozen and stopped: nothing that was committed runs again, and nothing of a worker that lost its lease counts."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest

from loopline.pipelines import reading
from loopline.pipelines.executions import cancel
from loopline.testing.executors import gone, is_alive
from loopline.testing.postgres import scratch_database


@pytest.fixture
def site_module(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return import_module("pipeline_site")


@pytest.mark.slow
def test_killed_workers_cost_at_most_the_steps_they_were_at(tmp_path, site_module):
    figures = import_module("figures")
    most = figures.count(4, 100)
    with closing(site_module.Site(tmp_path, lease=2.0, name="pipelines_of_kills")) as site:
        execution = site.submit("squares", count=4 * most, seconds=0.15)
        draw, kills, recovery = random.Random(7), 0, []
        while site.state(execution) == "running" and kills < most:
            worker = site.worker()
            said = len(site.lines())
            site.until(lambda said=said: len(site.lines()) > said or site.state(execution) != "running")
            time.sleep(draw.uniform(0, 0.4))
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
            kills += 1
        killed_at = time.monotonic()
        held = running(site, execution)
        site.worker()
        site.until(lambda: not held & running(site, execution))  # taken back once their leases have ended
        recovery.append(time.monotonic() - killed_at)
        site.until(lambda: site.state(execution) == "done")
        events = site.events(execution)
        site_module.check_once(events)
        assert site.result(execution) == sum(number * number for number in range(4 * most))
        ran = Counter(site.lines())
        lost = Counter(one.step for one in events if one.kind == "lost")
        assert kills >= 3
        assert sum(ran.values()) <= 4 * most + 1 + sum(lost.values())
        assert sum(lost.values()) <= 2 * kills  # two at half a core each
    figures.tell("worker killed", tried=kills, survived=kills, recovery=recovery, attempts_lost=sum(lost.values()))


def running(site, execution):
    """The attempts that somebody holds, as (step, attempt)."""
    with site.home.database.reading() as tx:
        return {(one.name, one.attempt) for one in reading.steps_of(tx, execution) if one.state == "running"}


@pytest.mark.slow
def test_a_frozen_worker_commits_nothing_after_its_lease(tmp_path, site_module):
    with closing(site_module.Site(tmp_path, lease=1.0, name="pipelines_of_freezes")) as site:
        flag = tmp_path / "flag"
        execution = site.submit("frozen", flag=str(flag))
        first = site.worker()
        site.until(lambda: "begun" in site.lines())
        os.kill(first.pid, signal.SIGSTOP)
        flag.touch()  # its process goes on and finishes; the worker cannot know
        site.worker()
        site.until(lambda: site.state(execution) == "done")
        result, before = site.result(execution), site.events(execution)
        os.kill(first.pid, signal.SIGCONT)
        site.until(lambda: "worker.killed" in site.logs() or "worker.fenced" in site.logs())
        assert site.events(execution) == before
        assert site.result(execution) == result
        site_module.check_once(before)
        assert [one.kind for one in before] == ["submitted", "started", "lost", "started", "done", "ended"]


@pytest.mark.heavy
@pytest.mark.slow
def test_a_worker_that_is_stopped_gives_back_what_it_cannot_finish(tmp_path, site_module):
    with closing(site_module.Site(tmp_path, lease=60.0, name="pipelines_of_stops")) as site:
        flag = tmp_path / "flag"
        execution = site.submit("frozen", flag=str(flag))
        worker = site.worker("--grace", "0.2")
        site.until(lambda: "begun" in site.lines())
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait(site_module.WITHIN) == 0
        flag.touch()
        site.worker("--until-idle").wait(site_module.WITHIN)
        kinds = [one.kind for one in site.events(execution)]
        assert kinds == ["submitted", "started", "released", "started", "done", "ended"]


@pytest.mark.slow
def test_a_cancelled_step_is_killed(tmp_path, site_module):
    with closing(site_module.Site(tmp_path, lease=60.0, name="pipelines_of_cancels")) as site:
        execution = site.submit("frozen", flag=str(tmp_path / "never"))
        site.worker()
        site.until(lambda: "begun" in site.lines())
        process = int(site.seen.read_text().split()[1])
        assert is_alive(process)
        with site.home.database.transaction() as tx:
            cancel(tx, site.home.engine, execution)
        assert gone([process])
        assert [one.kind for one in site.events(execution)] == ["submitted", "started", "ended"]


@pytest.mark.heavy
@pytest.mark.slow
def test_workers_on_postgresql_never_run_a_step_twice_even_when_one_is_killed(tmp_path, site_module, postgres_url):
    with (
        scratch_database(postgres_url, f"workers_{os.getpid()}") as url,
        closing(site_module.Site(tmp_path, lease=3.0, name="pipelines_of_many", database=url)) as site,
    ):
        execution = site.submit("squares", count=40, seconds=0.05)
        workers = [site.worker() for _ in range(3)]
        site.until(lambda: len(site.lines()) >= 5)
        os.kill(workers[0].pid, signal.SIGKILL)
        site.until(lambda: site.state(execution) == "done")
        events = site.events(execution)
        site_module.check_once(events)
        assert site.result(execution) == sum(number * number for number in range(40))
        lost = sum(one.kind == "lost" for one in events)
        assert lost <= 2
        assert len(site.lines()) <= 41 + lost
        assert len({one.worker for one in events if one.kind == "started"}) >= 2
