"""Workers are killed again and again while every step needs a remedy: each goes on where the last commit left it."""

import os
import random
import signal
import time
from contextlib import closing
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest

from loopline.pipelines.healing import postponed, record
from loopline.values import Window

PIPELINE = """
import os
import time
from pathlib import Path

import polars as pl

import loopline as ll


def say(name: str) -> None:
    handle = os.open(os.environ["SEEN"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{name} {os.getpid()}\\n".encode())
    os.close(handle)


def instead(window: ll.Window) -> int:
    say("instead")
    return 10


@ll.step(heal=ll.when("access", ll.wait("10m", every="1s")))
def waiting(window: ll.Window, flag: str) -> int:
    say("waiting")
    if Path(flag).exists():
        return 1
    raise FileNotFoundError(2, "not there")


@ll.step
def read(window: ll.Window) -> pl.DataFrame:
    return pl.DataFrame({"n": [1, -1, 2]})


@ll.step(heal=ll.when("data", ll.quarantine_rows))
def summed(rows: pl.DataFrame) -> int:
    say("summed")
    time.sleep(0.2)
    bad = rows.with_row_index().filter(pl.col("n") < 0)["index"]
    if len(bad):
        raise ll.BadRows("rows", bad, "negative")
    return int(rows["n"].sum())


@ll.step(heal=ll.when("any", ll.last_good, ll.fall_back(instead)))
def falling(window: ll.Window) -> int:
    say("falling")
    time.sleep(0.2)
    raise ZeroDivisionError


@ll.step(heal=ll.when("dependency", ll.skip_window(backfill_after="1d")))
def skipping(window: ll.Window) -> int:
    say("skipping")
    time.sleep(0.2)
    raise ConnectionError


@ll.step
def total(one: int, two: int, three: int, four: int | None) -> int:
    say("total")
    return one + two + three + (four or 0)


@ll.pipeline
def healed(window: ll.Window, flag: str):
    return total(waiting(window, flag), summed(read(window)), falling(window), skipping(window))
"""


@pytest.mark.slow
def test_killed_workers_change_nothing_of_what_heals(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    site_module = import_module("pipeline_site")
    monkeypatch.setattr(site_module, "PIPELINE", PIPELINE)
    with closing(site_module.Site(tmp_path, lease=2.0, name="pipelines_that_heal")) as site:
        flag = tmp_path / "flag"
        window = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
        execution = site.submit("healed", window=window, flag=str(flag))
        draw = random.Random(3)
        for _ in range(5):
            worker = site.worker()
            said = len(site.lines())
            site.until(lambda said=said: len(site.lines()) > said)
            time.sleep(draw.uniform(0, 0.5))
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
        flag.touch()
        site.worker()
        site.until(lambda: site.state(execution) == "done")
        assert site.result(execution) == 1 + 3 + 10
        with site.home.database.reading() as tx:
            tried = {
                step: [(one.kind, one.outcome) for one in record.history(tx, execution, step)]
                for step in ("waiting", "summed", "falling", "skipping")
            }
            [later] = postponed.waiting(tx, "default")
        waits = tried.pop("waiting")
        assert set(waits[:-1]) <= {("wait", "failed")}
        assert waits[-1:] == [("wait", "helped")]
        assert tried == {
            "summed": [("quarantine_rows", "helped")],
            "falling": [("last_good", "failed"), ("fall_back", "helped")],
            "skipping": [("skip_window", "ended")],
        }
        assert later.window == window
        site_module.check_once(site.events(execution))
