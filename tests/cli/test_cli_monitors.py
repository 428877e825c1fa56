"""What is watched, told by `monitors`, `report --watched` and `playbook`: the same as is recorded, and nothing is changed by asking."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from loopline.app.home import open_home
from loopline.config import Settings
from loopline.incidents import incident
from loopline.ledger import chain
from loopline.loop.watched import kind_of

TINY = Path(__file__).parents[1] / "e2e" / "tiny_loop.py"


@pytest.fixture
def asked(run, read_home):
    return lambda *arguments: run(*arguments, "--home", str(read_home), "--json").value


def test_monitors_tell_what_status_budget_and_incidents_tell(asked):
    found = {(one["project"], one["monitor"]): one for one in asked("monitors")}
    for project in asked("status"):
        [model] = project["models"]
        assert (project["project"], "data") in found
        for monitor in model["monitors"]:
            mine = found[project["project"], monitor["name"]]
            assert (mine["evidence"], mine["allowed"]) == (monitor["evidence"], monitor["allowed_excess"])
            assert mine["watermark"] == monitor["watermark"]
    for budget in asked("budget"):
        for monitor in budget["monitors"]:
            mine = found[budget["project"], monitor["monitor"]]
            assert (mine["alarms"], mine["false_pages_per_year"]) == (
                monitor["alarms"],
                monitor["false_pages_per_year"],
            )
    opened = {one["id"] for one in asked("incidents", "--open")}
    assert {name for one in found.values() for name in one["incidents"]} == opened


@pytest.mark.parametrize(
    ("monitor", "kind"),
    [
        ("harm", "harm"),
        ("harm:brier", "harm"),
        ("decision", "decision_harm"),
        ("estimated", "estimated_harm"),
        ("regret:previous:3-2", "regret"),
        ("fair:log_loss:carrier:slow", "unfair"),
        ("rate:degraded", "exceeded"),
        ("data", "data_fault"),
        ("freshness", "data_fault"),
    ],
)
def test_a_monitor_that_never_alarmed_says_what_of(monitor, kind):
    assert kind_of(monitor) == kind


def test_the_report_of_what_is_watched_is_one_page_that_needs_nothing_else(run, home, tmp_path):
    """Offline: no script and nothing fetched; every monitor and incident is in it, and each harm is drawn."""
    with (resources := open_home(Settings.read(home, environment={}))).database.transaction() as tx:
        found = incident.find(tx, "tiny")[0]
        evil = {
            "column": "<b>price</b>",
            "kind": "unit_change",
            "value": 60.0,
            "expected": 1.0,
            "sentence": "x < y & z",
        }
        incident.open_or_join(
            tx,
            project="tiny",
            model="returns",
            kind="data_fault",
            alarm="alarm_x",
            at=found.opened_at,
            sentence="price is broken",
            diagnosis=[evil],
        )
    resources.database.close()
    out = tmp_path / "watched.html"
    done = run("report", "--watched", "--out", str(out), "--home", str(home), "--json")
    page = out.read_text()
    root = ET.fromstring(page.removeprefix("<!DOCTYPE html>"))
    words = "".join(root.itertext())
    assert not re.search(r"https?://|<script|src=|@import", page)
    assert {one["id"] for one in done.value["incidents"]} <= set(re.findall(r"inc_[0-9a-f]+", words))
    assert all(f"{one['model']}: {one['monitor']}" in words for one in done.value["monitors"])
    assert "<b>price</b>" in words
    assert "x < y & z" in words
    assert sum(node.tag == "svg" for node in root.iter()) >= 2 * len(done.value["series"])
    assert re.search(r"\b59\.000", words), "the picture of the fault tells how far it lies from the usual"


def test_a_dry_run_tells_what_the_next_turn_would_do_and_changes_nothing(run, home):
    resources = open_home(Settings.read(home, environment={}))
    with resources.database.reading() as tx:
        before = chain.head(tx, "tiny")
        waits = bool([one for one in incident.find(tx, "tiny", only_open=True) if one.kind == "harm"])
    [found] = run("playbook", str(TINY), "--home", str(home), "--json").value
    assert [one["action"] for one in found["responses"]] == ["retrain"]
    assert found["responses"][0]["matches"] is waits
    assert (found["would"] is not None) is waits
    with resources.database.reading() as tx:
        assert chain.head(tx, "tiny") == before
    plain = run("playbook", str(TINY), "--home", str(home))
    assert ("would be carried out" in plain.out) is waits
    resources.database.close()
