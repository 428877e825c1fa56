"""A home with a loop and pipelines, for real: what the loop ingests, an incident, a signed message and a clock each fire one."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.faults.schedule_site import Site, post

from loopline.clock import SystemClock
from loopline.incidents.store import notification
from loopline.ledger import chain
from loopline.pipelines.schedules import webhook
from loopline.pipelines.schedules.store import schedule, tick
from loopline.testing.postgres import scratch_database

pytestmark = pytest.mark.slow

LOOP = """
from datetime import UTC, datetime, timedelta

import polars as pl

import loopline as ll

loop = ll.Loop("shop")
SCHEMA = {"id": pl.String, "at": pl.Datetime("us", "UTC"), "price": pl.Float64}


@loop.source(key="id", event_time="at", known_at="at", every="2s")
def orders(window: ll.Window) -> pl.DataFrame:
    first = int(window.start.timestamp()) + 1
    at = [datetime.fromtimestamp(moment, UTC) for moment in range(first, int(window.end.timestamp()) + 1)]
    at = [moment for moment in at if moment in window]
    rows = [(str(int(moment.timestamp())), moment, 1.0) for moment in at]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@loop.source(key="id", event_time="at", known_at="at", every="2s", freshness="1s")
def refunds(window: ll.Window) -> pl.DataFrame:
    return pl.DataFrame(schema=SCHEMA)


@loop.model(
    on=orders, at="at", features=["price"], label=ll.label(refunds, pl.col("price") > 0, matures="1d"), params={}, fallback=0.4
)
def refunded(train: ll.TrainingSet, params: dict):
    raise NotImplementedError


loop.operate(
    refunded,
    decide=ll.costs(false_positive=1, false_negative=3),
    promote=[ll.better("log_loss")],
    watch=ll.Risk("log_loss", tolerance=0.02, block="1d", false_pages_per_year=1),
)
"""

PIPELINES = """
import time

import loopline as ll


@ll.step(cores=0.2, reuse=False)
def told(what: str, start: float, end: float) -> str:
    return f"{what} {start} {end}"


@ll.step(cores=0.2, reuse=False)
def waited(seconds: float, window: ll.Window) -> float:
    time.sleep(seconds)
    return seconds


@ll.pipeline(schedule=ll.on_table("shop.orders", params={"what": "orders"}))
def arrived(window: ll.Window, what: str):
    return told(what, window.start.timestamp(), window.end.timestamp())


@ll.pipeline(schedule=[ll.on_alarm("data_fault", model="shop.refunds"), ll.on_alarm("harm", params={"what": "harm"})])
def stale(what: str = "alarm"):
    return told(what, 0.0, 0.0)


@ll.pipeline(schedule=ll.on_webhook("report", params={"what": "message"}))
def reported(what: str):
    return told(what, 0.0, 0.0)


@ll.step(cores=0.2)
def refused() -> int:
    raise ValueError("no such plan")


@ll.pipeline(owner="ann")
def failing():
    return refused()


@ll.pipeline(schedule=ll.interval("5s", params={"seconds": 4.0}))
def slow(window: ll.Window, seconds: float):
    return waited(seconds, window)
"""


@pytest.fixture
def postgres_site(tmp_path, postgres_url) -> Iterator[Site]:
    with (
        scratch_database(postgres_url, f"e2e_pipelines_{os.getpid()}") as url,
        closing(Site(tmp_path, database_url=url)) as made,
    ):
        yield made


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.heavy)])
def site(request, tmp_path) -> Iterator[Site]:
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres_site")
        return
    with closing(Site(tmp_path)) as made:
        yield made


def done(site: Site, pipeline: str) -> list:
    return site.executions(pipeline, "done")


def test_a_table_an_incident_a_message_and_a_clock_fire_pipelines_beside_a_loop(site):
    loop = site.folder / "shop.py"
    loop.write_text(LOOP)
    site.command("apply", str(loop))
    assert site.apply(PIPELINES)["project"] == "shop"
    secret = site.command("schedules", "hook", "report")["secret"]
    process, control = site.up(str(loop))

    site.until(lambda: len(done(site, "arrived")) >= 3 and done(site, "slow"))
    [alarmed] = site.until(lambda: done(site, "stale"))
    assert site.result(alarmed.execution) == "alarm 0.0 0.0"

    path, body = "/api/v1/hooks/shop/report", b'{"day": 1}'
    headers = webhook.headers(secret, message_id="m1", at=SystemClock().now(), body=body)
    assert post(control, path, b"{}", headers).status_code == 401
    answers = [post(control, path, body, headers) for _ in range(2)]
    assert [one.status_code for one in answers] == [202, 202]
    assert [one.json()["new"] for one in answers] == [True, False]
    [reported] = site.until(lambda: done(site, "reported"))
    assert site.result(reported.execution) == "message 0.0 0.0"

    site.until(lambda: site.executions("slow", "running"))
    assert site.end(process) == 0  # what runs is let finish
    assert not [one for one in site.executions() if one.state not in {"done", "running"}]
    with site.database.reading() as tx:
        assert tx.exec_driver_sql("select count(*) from attempt where state <> 'done'").scalar() == 0
        assert chain.entries(tx, "shop", kind="pipelines.applied")
    check_table_ticks(site)


def check_table_ticks(site: Site) -> None:
    """Each tick has its execution; the windows of one table follow each other without a gap."""
    told = site.rows(tick)
    assert {row["state"] for row in told} == {"started"}
    assert sorted(row["execution"] for row in told) == sorted(one.execution for one in site.executions())
    [arriving] = [one["id"] for one in site.rows(schedule) if one["kind"] == "table"]
    fired = sorted((row["window_start"], row["window_end"]) for row in told if row["schedule"] == arriving)
    assert [end for _, end in fired[:-1]] == [start for start, _ in fired[1:]]
    results = {site.result(one.execution) for one in done(site, "arrived")}
    assert results <= {f"orders {start.timestamp()} {end.timestamp()}" for start, end in fired}


@pytest.mark.heavy
def test_without_cores_of_its_own_an_up_leaves_steps_to_workers_elsewhere(postgres_site):
    site = postgres_site
    site.apply(PIPELINES)
    assert [one["project"] for one in site.command("pipelines")] == ["default"] * 5
    process, _ = site.up(LOOPLINE_PIPELINE_CORES="0")
    site.until(lambda: len(site.executions("slow", "running")) >= 2)
    with site.database.reading() as tx:
        assert tx.exec_driver_sql("select count(*) from attempt").scalar() == 0
    for one in site.command("schedules"):
        site.command("schedules", "pause", one["id"])
    ran = site.command("worker", "--cores", "1", "--until-idle", home="elsewhere")
    assert ran["steps"] == len(site.rows(tick)) == len(done(site, "slow"))
    assert site.end(process, signal.SIGINT) == 0
    ledger = site.command("ledger", "show", "--kind", "pipelines.applied")
    assert [one["subject"] for one in ledger] == ["site_pipes"]


def test_an_up_of_pipelines_alone_tells_their_owners_and_is_the_only_one_of_its_home(tmp_path):
    with closing(Site(tmp_path)) as site:
        site.apply(PIPELINES)
        process, _ = site.up()
        with pytest.raises(AssertionError, match=r"up\.running"):
            site.command("up")
        site.command("pipelines", "run", f"{tmp_path}/site_pipes.py:failing", "--detach")
        [told] = site.until(lambda: [one for one in site.rows(notification) if one["done_at"]])
        assert (told["to"], told["severity"], told["message"]["step"]) == ("ann", "warning", "refused")
        assert site.end(process) == 0
