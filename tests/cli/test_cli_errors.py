"""`loopline errors`: figures as JSON, a picture for a terminal, and an HTML file that needs nothing else."""

from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from tests.cli.conftest import call

import loopline as ll
from loopline.app.home import open_home
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.pipelines.healing import postponed, record
from loopline.pipelines.healing.raised import raised
from loopline.pipelines.healing.record import Where
from loopline.pipelines.schedules import schedule
from loopline.values import Window

HEAL = [ll.when("access", ll.wait("2h"), ll.skip_window(backfill_after="6h")), ll.when("any", ll.retry(1))]
NOW = SystemClock().now()


@pytest.fixture
def home(tmp_path):
    """Three executions whose step could not read, one of which got there by waiting, and a mistake in another step."""
    folder = tmp_path / "home"
    resources = open_home(Settings.read(folder, {"LOOPLINE_DURABLE": "0"}))
    with resources.database.transaction() as tx:
        schedule.declare(tx, project="shop", pipeline="sales", schedules=[ll.on_alarm()], at=NOW, actor="ann")
        for number in range(3):
            where = Where(project="shop", pipeline="sales", step="read", execution=f"exec_{number}", attempt=0)
            error = raised(PermissionError(f"no access to <b>{number}</b>"), source="crm")
            record.failed(tx, where, error, HEAL, at=NOW - timedelta(days=number))
        record.ended(
            tx, execution="exec_2", step="read", helped=True, at=NOW - timedelta(days=2) + timedelta(minutes=5)
        )
        where = Where(project="shop", pipeline="sales", step="merge", execution="exec_4", attempt=0)
        record.failed(tx, where, raised(KeyError("x")), HEAL, at=NOW - timedelta(days=40))
        postponed.postpone(
            tx, HEAL[0].remedies[1], project="shop", pipeline="sales", params={}, execution="exec_0", at=NOW,
            window=Window(NOW - timedelta(hours=1), NOW), why="no access",
        )  # fmt: skip
    resources.database.close()
    return str(folder)


def test_figures_are_told(home):
    told = call("errors", "--home", home, "--json").value
    [pattern] = told["found"]["patterns"]
    assert (pattern["class"], pattern["failures"], pattern["steps"]) == (
        "access",
        3,
        [{"name": "sales.read", "count": 3}],
    )
    assert pattern["sources"] == [{"name": "crm", "count": 3}]
    assert (told["found"]["healed"], told["found"]["costs"][0]["helped"], told["found"]["costs"][0]["seconds"]) == (
        1,
        1,
        300,
    )
    assert [one["pipeline"] for one in told["postponed"]] == ["sales"]
    assert call("errors", "--home", home, "--since", "60d", "--json").value["found"]["by_class"] == {
        "access": 3,
        "code": 1,
    }
    assert call("errors", "--home", home, "--project", "other", "--json").value["found"]["failures"] == 0


def test_a_terminal_gets_sentences_and_a_picture(home):
    text = call("errors", "--home", home, "--zone", "Europe/Berlin").out
    assert text.startswith("3 attempts failed in 3 executions; 1 step healed without a person.")
    assert "█" in text
    assert "To be executed again" in text
    assert call("errors", "--home", home, "--project", "other").out == "Nothing has failed.\n"


def test_the_html_file_is_well_formed_and_fetches_nothing(home, tmp_path):
    out = tmp_path / "errors.html"
    call("errors", "--home", home, "--out", str(out))
    page = out.read_text()
    tree = ET.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    assert "What healing cost" in page
    assert "<b>" not in page
    assert len([one for one in tree.iter("rect") if one.get("fill")]) >= 2
    assert "http" not in page.replace("Content-Security-Policy", "").replace("http-equiv", "")


@pytest.mark.parametrize("wrong", [["--since", "soon"], ["--zone", "Mars"]])
def test_what_cannot_be_read_is_refused(home, wrong):
    assert call("errors", "--home", home, *wrong).code == 2
