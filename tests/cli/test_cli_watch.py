"""`loopline watch` as a script sees it: exit codes, JSON, the report."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

_spec = spec_from_file_location("alone_data", Path(__file__).parents[1] / "app" / "alone_data.py")
assert _spec is not None
assert _spec.loader is not None
data = module_from_spec(_spec)
_spec.loader.exec_module(data)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """By what happens: the options that name predictions and labels."""
    folder = tmp_path_factory.mktemp("files")
    made = {kind: data.service(days=40, harm=22, kind=kind).write(folder / kind) for kind in ("concept", "shift")}
    return {kind: ("--predictions", paths[0], "--labels", paths[1]) for kind, paths in made.items()}


def test_harm_exits_with_ten(run, files, tmp_path):
    report = tmp_path / "report.html"
    done = run("watch", *files["concept"], "--report", str(report))
    assert done.code == 10
    assert done.out.startswith("Harmed since about 23 January 2024: the log loss is 0.1")
    for question in ("Is it harmed?", "Why?", "How sure is this?", "What could not be answered?", "What next:"):
        assert question in done.out
    assert "In region=east, 30% of the rows, the loss rose by" in done.out
    assert report.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(report.with_suffix(".json").read_text())["command"] == "watch"


def test_no_harm_exits_with_nought(run, files):
    done = run("watch", *files["shift"])
    assert (done.code, done.out.splitlines()[0]) == (0, "No harm found in 26 days.")
    assert done.err == ""


def test_json_is_all_and_nothing_else(run, files):
    done = run("watch", *files["concept"], "--json", "--name", "late")
    assert done.code == 10
    assert (done.value["name"], done.value["verdict"]) == ("late", "harm")
    assert len(done.value["blocks"]) == 40


def test_a_home_keeps_count(run, files, tmp_path):
    home = str(tmp_path / "home")
    assert run("watch", *files["concept"], "--home", home, "--name", "late").code == 10
    again = run("watch", *files["concept"], "--home", home, "--name", "late")
    assert again.code == 10
    assert "0 blocks are new" in " ".join(again.out.split())
    listed = run("incidents", "--home", home, "--json")
    assert [one["model"] for one in listed.value] == ["late"]
    assert "elsewhere" in run("status", "--home", home).out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--score", "none"], "alone.no_column"),
        (["--false-positive", "1"], "alone.costs"),
        (["--kind", "fortune"], "alone.unknown_kind"),
        (["--absent", "maybe"], "alone.unknown_absent"),
        (["--false-pages-per-year", "0"], "monitor.risk"),
        (["--tolerance", "-1"], "monitor.risk"),
        (["--report", "/no/such/folder/r.html"], "alone.report_folder"),
    ],
)
def test_wrong_input_exits_with_two_and_says_what_to_do(run, files, arguments, code):
    done = run("watch", *files["concept"], *arguments, "--json")
    assert done.code == 2
    assert done.value["error"]["code"] == code
    assert done.value["error"]["remedy"]


def test_no_files_exit_with_three(run, tmp_path):
    assert run("watch", "--predictions", str(tmp_path / "none.parquet")).code == 3
