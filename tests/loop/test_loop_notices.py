"""Telling people: who is told of what, and that a kill at any moment loses nothing and tells under one id."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loopline.app.home import open_home
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.incidents import outbox
from loopline.incidents.notify import Channels, WebhookChannel
from loopline.incidents.people import quiet_hours
from loopline.loop.lane import Lane, lanes
from loopline.loop.notices import attend, deliver
from loopline.loop.owner import owner_of
from loopline.loop.plan import apply
from loopline.monitoring.alarm_kinds import DATA_FAULT, HARM

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Hook:
    """A web server that keeps what it is sent; `status` is what it answers."""

    def __init__(self) -> None:
        self.received: list[dict] = []
        self.status = 204
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(hook.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.stop()


@pytest.fixture
def resources(tmp_path, hook):
    made = open_home(Settings.read(tmp_path / "home", environment={}), clock=ReplayClock(T0), silent=True)
    yield replace(made, channels=Channels([WebhookChannel(hook.url, allow_private=True)]))
    made.database.close()


def put(resources, key: str, at: datetime = T0, **said) -> str:
    with resources.database.transaction() as tx:
        found = outbox.put(
            tx,
            project="parcels",
            key=key,
            to="risk",
            severity=said.pop("severity", "info"),
            message={"event": "e", "text": key},
            at=at,
            **said,
        )
    return found.id


def test_what_a_receiver_refuses_is_sent_again_under_the_same_id(resources, hook):
    note, hook.status = put(resources, "a"), 503
    assert deliver(resources, "parcels", T0) == 0
    assert deliver(resources, "parcels", T0) == 0  # not before its time
    hook.status = 204
    assert deliver(resources, "parcels", T0 + MINUTE) == 1
    assert deliver(resources, "parcels", T0 + 9 * MINUTE) == 0
    assert [message["id"] for message in hook.received] == [note, note]


def test_a_digest_is_what_waited(resources, hook, small_loop):
    apply(resources.database, small_loop, actor="ann", at=T0)
    quiet = [quiet_hours("22:00", "07:00")]
    night, morning = datetime(2026, 1, 1, 23, tzinfo=UTC), datetime(2026, 1, 2, 7, tzinfo=UTC)
    ids = {put(resources, str(number), night, quiet=quiet) for number in range(3)}
    page = put(resources, "page", night, quiet=quiet, severity="critical")
    attend(resources, night)
    attend(resources, morning)
    attend(resources, morning + MINUTE)
    assert [message["event"] for message in hook.received] == ["e", "digest"]
    assert hook.received[0]["id"] == page
    assert {part["id"] for part in hook.received[1]["notifications"]} == ids


KILLED = """
import os, sys
from dataclasses import replace
from datetime import UTC, datetime
from loopline.app.home import open_home
from loopline.config import Settings
from loopline.incidents.notify import Channels, WebhookChannel
from loopline.loop.notices import deliver

home, url, when = sys.argv[1:]

class Dying(WebhookChannel):
    def send(self, message):
        if when == "before":
            os._exit(9)
        super().send(message)
        os._exit(9)

opened = open_home(Settings.read(home, environment={}), silent=True)
opened = replace(opened, channels=Channels([Dying(url, allow_private=True)]))
deliver(opened, "parcels", datetime(2026, 1, 1, 12, tzinfo=UTC))
"""


@pytest.mark.parametrize(("when", "times"), [("before", 1), ("after", 2)])
def test_killed_while_telling_it_is_told_again_and_never_lost(resources, hook, tmp_path, when, times):
    note = put(resources, "a")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "home"), hook.url, when]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 9
    assert deliver(resources, "parcels", T0 + timedelta(seconds=30)) == 1
    assert [message["id"] for message in hook.received] == [note] * times
    assert deliver(resources, "parcels", T0 + MINUTE) == 0


def lane(declared, /, *, model: str = "", **owners: str) -> Lane:
    sources = {name: replace(source, owner=owners.get(name, "")) for name, source in declared.sources.items()}
    found = declared.operations["late"]
    operation = replace(found, model=replace(found.model, owner=model))
    made = replace(declared, sources=sources, operations={"late": operation}, owner=owners.get("loop", ""))
    return lanes(made, seed=0, compare=False)[0]


def fault(column: str) -> dict[str, str]:
    return {"column": column, "sentence": "s"}


def test_harm_is_the_models_owner_s_and_a_fault_its_sources(small_loop):
    owned = lane(small_loop, model="modellers", loop="team", sendings="intake", deliveries="field")
    assert owner_of(owned, HARM, [fault("way")]) == "modellers"
    assert owner_of(owned, DATA_FAULT, [fault("way")]) == "intake"
    assert owner_of(owned, DATA_FAULT, [fault("carrier_took_3d"), fault("carrier_hours")]) == "field"
    assert owner_of(owned, DATA_FAULT, [fault("way"), fault("carrier_took_3d")]) == "modellers"
    assert owner_of(lane(small_loop, loop="team"), DATA_FAULT, [fault("way")]) == "team"
    assert owner_of(lane(small_loop), HARM, []) == ""
