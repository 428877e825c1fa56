"""`loopline schedules`: what is listed, paused, resumed, and how a secret is made."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.cli.conftest import call

import loopline as ll
from loopline.app.home import open_home
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.ledger import chain
from loopline.pipelines.schedules import schedule, webhook
from loopline.pipelines.schedules.scheduler import Scheduler

NOW = SystemClock().now()
BEGUN = NOW - timedelta(hours=3)


@pytest.fixture
def home(tmp_path):
    """A home whose pipeline `sales` has an hourly schedule, and fired three times."""
    folder = tmp_path / "home"
    resources = open_home(Settings.read(folder, {"LOOPLINE_DURABLE": "0"}))
    with resources.database.transaction() as tx:
        when = [ll.interval("1h", anchor=BEGUN), ll.on_webhook("orders")]
        schedule.declare(tx, project="shop", pipeline="sales", schedules=when, at=BEGUN, actor="ann")
    Scheduler(resources.database, "shop", start=lambda *_, tick: f"exec-{tick}", clock=resources.clock).step()
    resources.database.close()
    return str(folder)


@pytest.fixture
def hourly(home):
    return next(one["id"] for one in call("schedules", "--home", home, "--json").value if one["kind"] == "interval")


def test_schedules_are_listed_with_their_next_fire_times(home, hourly):
    told = call("schedules", "list", "--home", home, "--json", "--next", "2").value
    [one] = [each for each in told if each["id"] == hourly]
    expected = [BEGUN.replace(microsecond=0) + timedelta(hours=hours) for hours in (4, 5)]
    assert [datetime.fromisoformat(at) for at in one["upcoming"]] == expected
    text = call("schedules", "--home", home).out
    assert "webhook orders" in text
    assert f"{expected[0]:%Y-%m-%d %H:%M}" in text
    assert call("schedules", "--home", home, "--pipeline", "other").out == "No schedules.\n"


def test_ticks_tell_what_they_started(home, hourly):
    told = call("schedules", "ticks", hourly, "--home", home, "--json").value
    assert [one["execution"] for one in told] == [f"exec-{one['id']}" for one in told]
    assert len(told) == 3
    assert "started" in call("schedules", "ticks", hourly, "--home", home).out


def test_pause_and_resume_are_told_and_in_the_ledger(home, hourly):
    paused = call("schedules", "pause", hourly, "--reason", "stock-taking", "--home", home, "--json").value
    assert (paused["state"], paused["reason"]) == ("paused", "stock-taking")
    assert "stock-taking" in call("schedules", "--home", home).out
    resumed = call("schedules", "resume", hourly, "--home", home)
    assert f"{hourly} is active, next at" in resumed.out
    resources = open_home(Settings.read(home, {}))
    with resources.database.reading() as tx:
        kinds = [one.kind for one in chain.entries(tx, "shop")]
    resources.database.close()
    assert kinds == ["schedule.paused", "schedule.resumed"]


def test_a_secret_is_shown_once_and_lets_messages_in(home):
    made = call("schedules", "hook", "orders", "--home", home, "--json").value
    assert made["path"] == "/api/v1/hooks/shop/orders"
    resources = open_home(Settings.read(home, {}))
    at = datetime(2026, 3, 2, tzinfo=UTC)
    with resources.database.transaction() as tx:
        assert webhook.receive(
            tx, project="shop", hook="orders", told=webhook.headers(made["secret"], message_id="m", at=at, body=b""),
            body=b"", sealing=resources.pseudonyms.secret(webhook.PURPOSE), machine=at, at=at,
        )  # fmt: skip
    resources.database.close()
    assert "any more" in call("schedules", "hook", "orders", "--remove", "--home", home).out
    assert call("schedules", "hook", "orders", "--remove", "--home", home).code == 3
    assert call("schedules", "hook", "Or/ders", "--home", home).code == 2


def test_an_unknown_schedule_is_not_found(home):
    for word in ("pause", "resume", "ticks"):
        assert call("schedules", word, "sched_x", "--home", home).code == 3
