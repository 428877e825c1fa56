"""`loopline pipelines`, `executions` and `worker`, on a file as a user writes it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from loopline.config import Settings
from loopline.incidents import outbox
from loopline.pipelines.home import PipelineHome

LOOPLINE = [sys.executable, "-c", "from loopline.cli.main import main; main()"]

FILE = """
from pathlib import Path

import loopline as ll


@ll.step
def read(window: ll.Window, rows: int) -> list[int]:
    return [int(window.start.timestamp()) % 7 + number for number in range(rows)]


@ll.step(retries=0)
def clean(row: int, fault: str) -> int:
    print("cleaning", row)
    if Path(fault).exists() and row % 2:
        raise ValueError(f"odd: {row}")
    return row


@ll.step
def merge(rows: list[int]) -> int:
    return sum(rows)


@ll.step
def empty(total: int) -> bool:
    return total == 0


@ll.step
def warn(total: int) -> str:
    return "nothing"


@ll.pipeline
def daily(window: ll.Window, fault: str, rows: int = 3):
    total = merge(clean.each(read(window, rows), fault=fault))
    warn(total, when=empty(total))
    return total
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOPLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOOPLINE_DURABLE", "0")
    name = f"daily_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(FILE)
    return tmp_path, f"{name}.py"


def test_an_execution_fails_is_resumed_is_reused_and_says_why(place, run):
    folder, file = place
    fault = folder / "fault"
    fault.touch()
    asked = ("pipelines", "run", file, "--set", f"fault={fault}", "--window", "1970-01-01..1970-01-02", "--json")
    failed = run(*asked, "--inline")
    assert failed.code == 1
    assert failed.value["state"] == "failed"
    assert [name for name, _ in failed.value["failures"]] == ["clean[1]"]
    fault.unlink()
    execution = failed.value["execution"]
    resumed = run("executions", "resume", execution, "--json")
    assert (resumed.code, resumed.value["state"]) == (0, "done")
    assert resumed.value["steps"] == {"done": 6, "skipped": 1}
    shown = run("executions", "show", execution, "--events", "--json").value
    assert {one["name"]: one["attempt"] for one in shown["each_step"]}["clean[1]"] == 2
    assert [one["kind"] for one in shown["events"]][:2] == ["submitted", "started"]
    assert "cleaning 1" in run("executions", "log", "clean[1]").out

    would = {one["step"]: one["would"] for one in run(*asked, "--dry-run").value}
    assert would == {"read": "reused", "clean": "reused", "merge": "reused", "empty": "reused", "warn": "skipped"}
    longer = run(*asked, "--set", "rows=4", "--inline")
    assert longer.value["state"] == "done"
    said = {
        step: run("executions", "why", step, "--json").value["sentence"]
        for step in ("read", "clean[0]", "clean[3]", "warn")
    }
    assert said["read"] == f"it ran because param rows is not as in {execution}"
    assert said["clean[0]"].startswith(f"it was not run: {execution}")
    assert said["clean[3]"].startswith("it ran because input row is not as in")
    assert said["warn"] == "it was skipped: its condition is false"
    (folder / file).write_text(FILE.replace("sum(rows)", "sum(rows) + 0"))
    edited = subprocess.run([*LOOPLINE, *asked, "--dry-run"], capture_output=True, text=True, check=True).stdout
    assert "code" in edited
    assert ":merge" in edited


HEALING = """
import polars as pl

import loopline as ll


@ll.step
def read() -> pl.DataFrame:
    return pl.DataFrame({"n": [1, -1, 2]})


@ll.step(heal=ll.when("data", ll.quarantine_rows))
def clean(rows: pl.DataFrame) -> int:
    bad = rows.with_row_index().filter(pl.col("n") < 0)["index"]
    if len(bad):
        raise ll.BadRows("rows", bad, "negative")
    return int(rows["n"].sum())


@ll.step
def wrong(total: int) -> int:
    raise KeyError(total)


@ll.pipeline(owner="ann", heal=ll.when("code", ll.page))
def healed():
    return wrong(clean(read()))
"""


def test_what_healed_and_what_did_not_is_told_everywhere(place, run):
    file = place[1].replace("daily", "healed")
    (place[0] / file).write_text(HEALING)
    assert run("pipelines", "run", file, "--inline", "--json").value["failures"][0][0] == "wrong"
    shown = run("executions", "show", "--events", "--json").value
    steps = {one["name"]: one for one in shown["each_step"]}
    assert steps["clean"]["instead"]["rows"] == 1
    assert steps["wrong"]["error"]["sentence"].endswith("the owner is paged.")
    assert [one["kind"] for one in shown["events"] if one["step"] == "clean"] == [
        "started",
        "set_aside",
        "started",
        "done",
    ]
    assert "without one row" in run("executions", "why", "clean", "--json").value["sentence"]
    assert "the owner is paged" in run("executions", "why", "wrong", "--json").value["sentence"]
    found = run("errors", "--json").value["found"]
    assert {(one["name"], one["class"]) for one in found["patterns"]} == {
        ("loopline.errors.BadRows", "data"), ("KeyError", "code"),
    }  # fmt: skip
    with closing(PipelineHome(Settings.read(place[0] / "home"))) as opened, opened.database.reading() as tx:
        [told] = outbox.waiting(tx, "default")
    assert (told.to, told.severity, told.message["step"]) == ("ann", "critical", "wrong")


def test_a_backfill_is_submitted_once_and_run_by_a_worker(place, run):
    folder, file = place
    asked = (
        "pipelines",
        "backfill",
        file,
        "--from",
        "2026-01-01",
        "--until",
        "2026-01-04",
        "--set",
        f"fault={folder}/none",
        "--json",
    )
    first, again = run(*asked).value, run(*asked).value
    assert [one["new"] for one in first] == [True] * 3
    assert [one["new"] for one in again] == [False] * 3
    assert [one["execution"] for one in first] == [one["execution"] for one in again]
    assert run("worker", "--until-idle", "--json").value["steps"] > 0
    found = run("executions", "--state", "done", "--json").value
    assert {one["execution"] for one in found} == {one["execution"] for one in first}
    assert [one["executions"] for one in run("pipelines", "--json").value] == [3]
    rerun = run("executions", "rerun", first[0]["execution"], "--detach", "--json").value
    assert (rerun["origin"], rerun["again"], rerun["fresh"]) == ("rerun", first[0]["execution"], True)
    cancelled = run("executions", "cancel", rerun["execution"], "--json").value
    assert cancelled["state"] == "cancelled"
    assert run("executions", "cancel", rerun["execution"]).code == 4


def test_a_graph_is_shown_and_mistakes_are_told(place, run):
    folder, file = place
    shown = run(
        "pipelines", "show", file, "--set", f"fault={folder}", "--window", "2026-01-01..2026-01-02", "--json"
    ).value
    assert [(one["step"], one["waits_for"]) for one in shown] == [
        ("read", []), ("clean", ["read"]), ("merge", ["clean"]), ("empty", ["merge"]), ("warn", ["empty", "merge"]),
    ]  # fmt: skip
    for arguments, code in (
        (("pipelines", "run", "nowhere.py"), 3),
        (("pipelines", "run", file), 2),
        (("pipelines", "run", file, "--window", "yesterday"), 2),
        (("executions", "show", "ex_none"), 3),
        (("executions", "why", "read"), 3),
    ):
        assert run(*arguments).code == code


def test_sigterm_ends_a_worker_in_order(place):
    with subprocess.Popen([*LOOPLINE, "worker"], env={**os.environ}, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        assert "Working for" in worker.stderr.readline()
        time.sleep(0.5)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    assert Path(os.environ["LOOPLINE_HOME"]).exists()
