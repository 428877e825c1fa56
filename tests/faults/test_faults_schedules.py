"""`loopline up` is killed at random moments, and two run at once: no tick is missed or doubled, and the steps' results are right."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from tests.faults.figures import count
from tests.faults.schedule_site import Site, check_ticks

from loopline.pipelines.schedules.store import tick
from loopline.testing.postgres import scratch_database

pytestmark = pytest.mark.slow

PIPELINE = """
import loopline as ll


@ll.step(cores=0.5)
def seconds(window: ll.Window) -> float:
    return (window.end - window.start).total_seconds()


@ll.step(cores=0.5)
def said(seconds: float, window: ll.Window, region: str) -> str:
    return f"{region} {window.end.timestamp():.0f} {seconds:.0f}"


@ll.pipeline(schedule=ll.interval("1s", params={"region": "north"}))
def often(window: ll.Window, region: str):
    return said(seconds(window), window, region)
"""
KILLS = count(2, 10)


@pytest.fixture
def postgres_site(tmp_path, postgres_url) -> Iterator[Site]:
    with (
        scratch_database(postgres_url, f"schedules_{os.getpid()}") as url,
        closing(Site(tmp_path, database_url=url)) as site,
    ):
        yield site


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.heavy)])
def site(request, tmp_path) -> Iterator[Site]:
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres_site")
        return
    with closing(Site(tmp_path)) as made:
        yield made


def is_ticking(site: Site, more: int) -> None:
    before = len(site.rows(tick))
    site.until(lambda: len(site.rows(tick)) >= before + more)


def check_results(site: Site) -> None:
    """All that was started comes to its end, with what a plain call of the functions gives."""
    found = site.executions()
    assert {one.state for one in found} == {"done"}
    for one in found:
        assert site.result(one.execution) == f"north {one.window[1].timestamp():.0f} 1"


def pause_and_drain(site: Site) -> None:
    """Nothing more falls due; what was started is let end."""
    [one] = site.command("schedules")
    site.command("schedules", "pause", one["id"])
    site.until(lambda: not site.executions(state="running"))


def test_an_up_that_is_killed_at_random_misses_and_doubles_no_tick(site):
    draw = random.Random(11)
    site.apply(PIPELINE)
    for _ in range(KILLS):
        process, _ = site.up()
        is_ticking(site, 1)
        time.sleep(draw.uniform(0, 3))
        assert site.end(process, signal.SIGKILL) == -signal.SIGKILL
    process, _ = site.up()
    is_ticking(site, 3)
    pause_and_drain(site)
    assert site.end(process) == 0
    told = check_ticks(site)
    assert len(told) > 10
    check_results(site)


@pytest.mark.heavy
def test_two_at_once_on_postgresql_start_each_tick_once(postgres_site):
    site = postgres_site
    site.apply(PIPELINE)
    with ExitStack() as running:
        first, second = (site.up(home=home)[0] for home in ("home", "other"))
        is_ticking(site, 10)
        site.end(first, signal.SIGKILL)
        is_ticking(site, 5)
        third, _ = site.up()
        is_ticking(site, 5)
        pause_and_drain(site)
        running.callback(lambda: [site.end(one) for one in (second, third)])
    told = check_ticks(site)
    check_results(site)
    with site.database.reading() as tx:
        workers = tx.exec_driver_sql("select count(distinct worker) from attempt").scalar()
    assert len(told) > 20
    assert workers >= 2
