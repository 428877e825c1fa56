"""PostgreSQL is restarted and cut off, clocks are wrong, fifty workers claim at once: no step is lost, none is claimed twice."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LEASE = 2.0
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))

pytestmark = pytest.mark.slow


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    return import_module("pipeline_site"), import_module("figures")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    with import_module("postgres_control").controlled() as found:
        yield found


def finish(module, site, execution, count):
    """It comes to its end, each step done once, and the result is right."""
    site.until(lambda: state_of(site, execution) == "done")
    assert site.result(execution) == sum(number * number for number in range(count))
    events = site.events(execution)
    module.check_once(events)
    return events


def state_of(site, execution):
    """The state; "" while nobody answers."""
    try:
        return site.state(execution)
    except Exception:
        return ""


def recovered(site, said):
    """Seconds until another step has run."""
    began = time.monotonic()
    site.until(lambda: len(site.lines()) > said)
    return time.monotonic() - began


@pytest.mark.heavy
def test_a_restarted_server_loses_nothing_and_work_goes_on(tmp_path, tools, server):
    module, figures = tools
    restarts, recovery = figures.count(2, 20), []
    count = 40 * restarts
    with closing(module.Site(tmp_path, lease=LEASE, name="pg_restarts", database=server.url)) as site:
        execution = site.submit("squares", count=count, seconds=0.05)
        workers = [site.worker(), site.worker()]
        for _ in range(restarts):
            said = len(site.lines())
            site.until(lambda said=said: len(site.lines()) > said + 4)
            server.restart()
            recovery.append(recovered(site, len(site.lines()) + 2))  # the two that ran may have had their steps already
        events = finish(module, site, execution, count)
        assert [worker.poll() for worker in workers] == [None, None]
        lost = sum(one.kind == "lost" for one in events)
    figures.tell("PostgreSQL restarted", tried=restarts, survived=len(recovery), recovery=recovery, attempts_lost=lost)


@pytest.mark.heavy
@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("iptables") is None, reason="only root may cut a network, with iptables"
)
def test_a_server_that_was_cut_off_loses_nothing_and_no_step_is_done_twice(tmp_path, tools, server):
    module, figures = tools
    cuts, seconds, recovery = figures.count(1, 3), figures.count(5, 60), []
    count = 60 * cuts
    with closing(module.Site(tmp_path, lease=LEASE, name="pg_cut", database=server.url)) as site:
        execution = site.submit("squares", count=count, seconds=0.05)
        workers = [site.worker(), site.worker()]
        for _ in range(cuts):
            said = len(site.lines())
            site.until(lambda said=said: len(site.lines()) > said + 4)
            with server.cut_off(seconds):
                recovery.append(recovered(site, len(site.lines()) + 1))
        events = finish(module, site, execution, count)
        assert [worker.poll() for worker in workers] == [None, None]
        lost = sum(one.kind == "lost" for one in events)
    figures.tell(
        f"PostgreSQL cut off for {seconds} s", tried=cuts, survived=len(recovery), recovery=recovery, attempts_lost=lost
    )


@pytest.mark.heavy
@pytest.mark.skipif(not FAKETIME, reason="libfaketime turns clocks (apt-get install faketime)")
def test_a_worker_whose_clock_is_wrong_by_an_hour_takes_nothing_from_others(tmp_path, tools, server):
    module, figures = tools
    tried = 0
    for shift in ("+1h", "-1h"):
        folder = tmp_path / shift
        folder.mkdir()
        with closing(
            module.Site(folder, lease=LEASE, name=f"pg_clock{len(shift)}{ord(shift[0])}", database=server.url)
        ) as site:
            execution = site.submit("squares", count=10, seconds=0.3)
            site.worker()
            site.worker(prefix=["env", f"LD_PRELOAD={FAKETIME[0]}", f"FAKETIME={shift}"])
            events = finish(module, site, execution, 10)
        workers = {one.worker for one in events if one.kind == "done"}
        assert len(workers) == 2  # both took part
        assert [one.kind for one in events if one.kind in {"lost", "failed"}] == []
        tried += len(events)
    figures.tell("clock wrong by +1 h and -1 h", tried=2, survived=2, events=tried)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["squares", "chains"])
def test_fifty_workers_never_claim_one_step_twice(tmp_path, tools, postgres_url, name):
    module, figures = tools
    steps = figures.count(200, 3000)
    chained = name == "chains"
    site_database = import_module("loopline.testing.postgres").scratch_database(
        postgres_url, f"claims_{name}_{os.getpid()}"
    )
    with (
        site_database as url,
        closing(module.Site(tmp_path, lease=30.0, name=f"pg_claims_{name}", database=url)) as site,
    ):
        shape = {"count": 40, "length": steps // 40} if chained else {"count": steps, "seconds": 0.0}
        execution = site.submit_fresh(name, **shape)  # all give the same, and nothing is to come from the cache
        program = [sys.executable, str(HERE / "claims_program.py"), str(site.home.settings.home), execution]
        began = time.monotonic()
        running = [
            subprocess.Popen([*program, "10"], env=site.environment, stdout=subprocess.PIPE, text=True)
            for _ in range(5)
        ]
        claimed = [tuple(one) for process in running for one in json.loads(process.communicate(timeout=300)[0])]
        took = time.monotonic() - began
        events = site.events(execution)
        assert site.state(execution) == "done"
    module.check_once(events)
    numbers = {one[:2] for one in claimed}
    assert len(claimed) == len(numbers) == steps + (not chained)
    assert sum(one.kind == "started" for one in events) == steps + (not chained)
    assert len({one.worker for one in events if one.kind == "done"}) > 10
    handed = sum(one[2] for one in claimed)
    assert (handed > steps // 4) == chained
    told = {"handed_over": handed, "seconds": round(took, 1)}
    figures.tell(f"50 workers on PostgreSQL, {name}", tried=len(claimed), survived=len(numbers), **told)
