"""`loopline pipelines plan`, `apply`, `remove`, and how what is in force is told."""

import sys

import pytest
from tests.cli.conftest import call

FILE = """
import loopline as ll


@ll.step
def read(window: ll.Window, region: str) -> str:
    return region


@ll.pipeline(schedule=[ll.cron("0 6 * * *", zone="Europe/Berlin", params={"region": "north"}), ll.on_webhook("go")])
def sales(window: ll.Window | None = None, region: str = "south"):
    return read(window, region) if window else region
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOOPLINE_DURABLE", "0")
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"applied_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(FILE)
    return str(tmp_path / f"{name}.py"), name


def test_a_file_is_planned_applied_told_and_removed(place):
    file, module = place
    planned = call("pipelines", "plan", file, "--exit-code", "--json")
    assert (planned.code, planned.value["project"]) == (9, "default")
    assert {one["path"] for one in planned.value["changes"]} == {"pipelines.sales", f"code.{module}.py"}
    assert call("pipelines", "--json").value == []

    applied = call("pipelines", "apply", file)
    assert "sales: cron 0 6 * * * in Europe/Berlin, next at" in applied.out
    assert call("pipelines", "plan", file, "--exit-code").code == 0
    assert "nothing did change" in call("pipelines", "apply", file).out

    [listed] = call("pipelines", "list", "--json").value
    assert (listed["pipeline"], listed["file"], listed["executions"]) == ("sales", module, 0)
    told = {one["says"]: len(one["upcoming"]) for one in listed["schedules"]}
    assert told == {"cron 0 6 * * * in Europe/Berlin": 3, "webhook go": 0}
    [shown] = call("pipelines", "show", "sales", "--json").value
    assert shown["schedules"] == listed["schedules"]
    assert "webhook go" in call("pipelines", "show", "sales").out
    assert len(call("schedules", "--json").value) == 2
    graph = call("pipelines", "show", file, "--window", "2026-01-01..2026-01-02", "--json").value
    assert [one["step"] for one in graph] == ["read"]

    [entry] = call("ledger", "show", "--json").value
    assert (entry["kind"], entry["subject"]) == ("pipelines.applied", module)
    assert call("ledger", "verify").code == 0
    assert call("freeze", "--project", "default").code == 0

    assert "ends the schedules of sales" in call("pipelines", "remove", module).out
    assert call("schedules", "--json").value == []
    assert call("pipelines", "remove", module).code == 3
    assert call("pipelines", "show", "sales").code == 3


def test_a_schedule_that_does_not_fit_is_refused_and_nothing_is_in_force(place, tmp_path):
    file, _ = place
    (tmp_path / "unfit_params.py").write_text(FILE.replace('"region": "north"', '"area": "north"'))
    refused = call("pipelines", "apply", str(tmp_path / "unfit_params.py"), "--json")
    assert refused.code == 2
    assert "pipeline.schedule_unfit" in refused.out + refused.err
    assert call("pipelines", "--json").value == []
    assert call("pipelines", "apply", file, "--project", "shop", "--json").value["project"] == "shop"
    assert call("pipelines", "apply", file, "--json").value["project"] == "shop"  # where it is in force already
