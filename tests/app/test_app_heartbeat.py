"""The dead-man's switch: a real `up`, a real server that hears it, trouble, and silence."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loopline.app.alive import alive
from loopline.app.heartbeat import DeadMansSwitch
from loopline.app.home import open_home
from loopline.clock import ReplayClock, SystemClock
from loopline.config import Settings
from loopline.deploy.process import ScoringProcess
from loopline.errors import InvalidInput, NotFound, Unavailable
from loopline.loop import heartbeat, store
from loopline.loop.load import load_loop
from loopline.storage.database import Database

SMALL = Path(__file__).parents[1] / "loop" / "small_loop.py"
LOOPLINE = str(Path(sys.executable).parent / "loopline")
T0 = datetime(2026, 5, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Outside:
    """Whoever watches: keeps the paths that it was asked for."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outside.heard.append(self.path)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/ping/secret?rid=7"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def outside() -> Iterator[Outside]:
    made = Outside()
    yield made
    made.stop()


def until(done: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)


def turned(database: Database, number: int, at: datetime) -> None:
    row = {"project": "parcels", "model": "late", "number": number, "window_start": at - DAY, "window_end": at}
    with database.transaction() as tx:
        store.add_turn(tx, row | {"summary": {}, "measured": {}})


def test_it_is_well_while_turns_are_completed_in_time_and_not_after(tmp_path, outside):
    clock = ReplayClock(T0)
    resources = open_home(Settings.read(tmp_path / "home", environment={}), clock=clock, silent=True)
    troubles: list[str] = []
    switch = DeadMansSwitch(
        resources,
        load_loop(SMALL),
        url=outside.url,
        every="1m",
        late="1h",
        trouble=lambda: troubles[-1] if troubles else "",
    )

    def beat(moment: datetime) -> bool:
        clock.turn_to(moment)
        return switch.beat().well

    assert beat(T0 + HOUR)  # the first turn is still to come
    assert not beat(T0 + HOUR + timedelta(seconds=1))
    turned(resources.database, 1, T0 + 2 * HOUR)
    assert beat(T0 + 2 * HOUR + DAY + HOUR)
    assert not beat(T0 + 2 * HOUR + DAY + HOUR + timedelta(seconds=1))
    turned(resources.database, 2, T0 + 28 * HOUR)
    troubles.append("the scheduler has died")
    assert not beat(T0 + 29 * HOUR)
    assert outside.heard == [f"/ping/secret{'' if well else '/fail'}?rid=7" for well in (1, 0, 1, 0, 0)]
    with resources.database.reading() as tx:
        [kept] = heartbeat.heartbeats(tx)
    assert (kept.well, kept.sentence) == (False, "the scheduler has died")
    assert kept.well_at is not None
    assert kept.well_at < kept.at


def test_alive_asks_the_database_alone(tmp_path):
    settings = Settings.read(tmp_path / "home", environment={})
    with pytest.raises(NotFound):
        alive(settings, within=HOUR, now=T0)
    assert not settings.home.exists()
    resources = open_home(settings, silent=True)

    def kept(at: datetime, *, well: bool = True) -> None:
        with resources.database.transaction() as tx:
            heartbeat.keep(tx, "parcels", well=well, sentence="s", at=at)

    def silent(now: datetime) -> str:
        with pytest.raises(Unavailable) as caught:
            alive(settings, within=HOUR, now=now)
        return caught.value.message

    assert "ever in operation" in silent(T0)
    kept(T0, well=False)
    assert "never well" in silent(T0)
    kept(T0)
    assert alive(settings, within=HOUR, now=T0 + HOUR)[0].loop == "parcels"
    assert "well last at" in silent(T0 + HOUR + timedelta(seconds=1))
    kept(T0 + 2 * HOUR, well=False)  # signs of life that are bad do not count
    assert "well last at" in silent(T0 + 2 * HOUR)
    assert "well last at" in silent(T0 - 2 * HOUR)  # as does one from the future


def test_a_url_that_is_none_is_refused_at_once(tmp_path):
    resources = open_home(Settings.read(tmp_path / "home", environment={}), silent=True)
    for url in ("ftp://x", "not a url", "http://[::"):
        with pytest.raises(InvalidInput):
            DeadMansSwitch(resources, load_loop(SMALL), url=url, every="1m", late="1h", trouble=str)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_killed_it_is_silent_and_cron_hears_of_it(tmp_path, outside):
    """The source breaks while it runs: turns are no longer completed, and that is told before the end."""
    broken, file, home = tmp_path / "broken", tmp_path / "loop.py", tmp_path / "home"
    text = SMALL.read_text().replace('turn="1d"', 'turn="1s"')
    check = f"    if __import__('os').path.exists({str(broken)!r}):\n        raise ValueError('down')\n"
    file.write_text(text.replace("    return frame.filter", f"{check}    return frame.filter", 1))
    environment = {
        **os.environ,
        "LOOPLINE_HOME": str(home),
        "LOOPLINE_HEARTBEAT_URL": outside.url,
        "LOOPLINE_HEARTBEAT_EVERY": "1s",
        "LOOPLINE_HEARTBEAT_LATE": "5s",
        "LOOPLINE_PORT": free_port(),
        "LOOPLINE_SCORING_PORT": free_port(),
        "OMP_NUM_THREADS": "1",
    }

    def run(*arguments: str) -> int:
        done = subprocess.run([LOOPLINE, *arguments], env=environment, capture_output=True, check=False)
        return done.returncode

    assert run("apply", str(file)) == 0
    with (tmp_path / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [LOOPLINE, "up", str(file)], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until(lambda: "/ping/secret?rid=7" in outside.heard)
        assert run("alive", "--within", "1m") == 0
        broken.touch()
        until(lambda: "/ping/secret/fail?rid=7" in outside.heard)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        ScoringProcess(Settings.read(environment=environment)).end_outlived()
    count = len(outside.heard)
    time.sleep(2.5)
    assert len(outside.heard) == count
    settings = Settings.read(home, environment={})
    with pytest.raises(Unavailable):
        alive(settings, within=timedelta(seconds=1), now=SystemClock().now())
    assert run("alive", "--within", "1s") == 8
