"""What holds for every command: help, JSON, exit codes, the nearest command, terminals."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from loopline.cli.main import COMMANDS, EXIT_CODES

READING = [
    ["status"],
    ["budget"],
    ["incidents"],
    ["incidents", "--open"],
    ["incidents", "--project", "tiny"],
    ["models"],
    ["tables"],
    ["tables", "tiny.orders", "--rows", "2"],
    ["tokens", "list"],
    ["ledger", "verify"],
    ["ledger", "show"],
    ["ledger", "show", "--kind", "promotion"],
    ["report"],
    ["report", "--watched"],
    ["monitors"],
    ["playbook", str(Path(__file__).parents[1] / "e2e" / "tiny_loop.py")],
    ["why", "returns:1"],
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run, name):
    done = run(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"loopline {name}" in done.out
    assert "--json" in done.out or name in {"ledger", "tokens"}


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_help_names_every_command(run, arguments):
    done = run(*arguments)
    assert done.code == 0
    assert all(f"\n  {name} " in done.out for name in COMMANDS)


def test_the_version_is_the_installed_one(run):
    assert run("--version").out == f"loopline {importlib.metadata.version('loopline')}\n"


def test_the_package_runs_as_the_command_does():
    done = subprocess.run([sys.executable, "-m", "loopline", "rolback"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "rollback" in done.stdout + done.stderr


@pytest.mark.parametrize(("said", "meant"), [("plann", "plan"), ("rolback", "rollback"), ("token", "tokens")])
def test_an_unknown_command_suggests_the_nearest(run, said, meant):
    done = run(said)
    assert (done.code, done.out) == (2, "")
    assert f"Did you mean `loopline {meant}`?" in done.err


def test_a_command_that_resembles_none_is_told_where_they_are_listed(run):
    done = run("xyzzy")
    assert done.code == 2
    assert "`loopline --help` lists them." in done.err


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_json_is_one_value_and_nothing_else(run, read_home, arguments):
    plain = run(*arguments, "--home", str(read_home))
    done = run(*arguments, "--home", str(read_home), "--json")
    assert (done.code, plain.code) == (0, 0)
    assert isinstance(done.value, list | dict)
    assert plain.out
    assert plain.out != done.out


def test_a_replay_without_a_terminal_prints_its_result_alone(replayed):
    _, done = replayed
    assert [result["comparison"]["model"] for result in done.value] == ["returns"]
    assert done.err == "", "no progress bar, no log"


@pytest.mark.parametrize(
    ("code", "error", "arguments"),
    [
        (3, "asked.nobody", ["ask"]),
        (3, "project.unknown", ["incidents", "--project", "other"]),
        (3, "model.unknown", ["promote", "other:1"]),
        (3, "model.version_not_found", ["promote", "returns:99"]),
        (3, "model.version_not_found", ["rollback", "--to", "99"]),
        (3, "rollback.no_earlier", ["rollback"]),
        (3, "table.not_found", ["tables", "tiny.nothing"]),
        (3, "why.unknown", ["why", "returns:99x"]),
        (3, "token.not_found", ["tokens", "revoke", "token_none"]),
        (3, "loop.file_not_found", ["plan", "nowhere.py"]),
        (2, "duration.unreadable", ["tokens", "issue", "bob", "--valid", "soon"]),
        (2, "token.ends_before_it_begins", ["tokens", "issue", "bob", "--valid", "0s"]),
        (2, "table.bad_name", ["tables", "../keys"]),
        (4, "rollback.serves_already", ["rollback", "--to", "1"]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_exit_codes_tell_the_kind_of_error(run, loopline, code, error, arguments):
    plain, done = loopline(*arguments), loopline(*arguments, "--json")
    assert (plain.code, done.code) == (code, code)
    assert done.value["error"]["code"] == error
    assert plain.out == ""
    assert f"[{error}]" in plain.err
    assert plain.err.count("\n") <= 3, "a message and a remedy, no traceback"


def test_every_class_of_error_has_an_exit_code_of_its_own():
    codes = [code for _, code in EXIT_CODES]
    assert len(set(codes)) == len(codes)
    assert not {0, 1} & set(codes)


@pytest.mark.parametrize("arguments", [*READING, ["promote", "returns:1"], ["rollback"], ["freeze"]], ids=" ".join)
def test_a_home_that_is_none_is_not_found_and_not_made(run, tmp_path, arguments):
    for folder in (tmp_path / "nowhere", tmp_path):
        done = run(*arguments, "--home", str(folder))
        assert done.code == 3
        assert "[home.not_found]" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_home(run, tmp_path):
    (tmp_path / "file").touch()
    done = run("status", "--home", str(tmp_path / "file"))
    assert done.code == 2
    assert "[home.not_a_folder]" in done.err


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        ("import loopline as ll\n\nloop = = 1\n", 3, "loop.syntax"),
        ("import loopline as ll\nloop = ll.Loop('tiny')\n\nraise ValueError('no')\n", 4, "loop.failed"),
        (
            "import loopline as ll\nloop = ll.Loop('tiny')\n@loop.source(key='k', event_time='t', known_at='t', every='soon')\ndef rows(w): ...\n",
            3,
            "duration.unreadable",
        ),
        ("x = 1\n", 1, "loop.not_one"),
    ],
    ids=["syntax", "exception", "declaration", "no loop"],
)
def test_a_mistake_in_a_loop_file_is_told_with_its_line(loopline, tmp_path, text, line, code):
    file = tmp_path / "wrong.py"
    file.write_text(text)
    for command in ("plan", "apply", "up"):
        done = loopline(command, str(file))
        assert done.code == 2
        assert f"{file}:{line}: " in done.err
        assert f"[{code}]" in done.err


def test_a_replay_of_no_time_is_refused_and_makes_nothing(run, tiny, tmp_path):
    done = run("replay", str(tiny), "--from", "2024-01-02", "--until", "2024-01-01", "--home", str(tmp_path / "home"))
    assert (done.code, list(tmp_path.iterdir())) == (2, [])
    assert "[window.empty]" in done.err


def test_predicting_needs_a_token_rows_and_a_server(run, tmp_path, monkeypatch):
    monkeypatch.delenv("LOOPLINE_TOKEN", raising=False)
    rows = tmp_path / "rows.json"
    rows.write_text("[")
    assert "[predict.no_token]" in run("predict", "returns", "--rows", str(rows)).err
    assert run("predict", "returns", "--rows", str(rows), "--token", "x").code == 2
    rows.write_text("[{}]")
    done = run("predict", "returns", "--rows", str(rows), "--token", "x", "--url", "http://127.0.0.1:9", "--json")
    assert (done.code, done.value["error"]["code"]) == (8, "client.no_answer")


def shown(run, arguments, home):
    """The words of the same output where there is room."""
    return run(*arguments, *home).out.split()


@pytest.mark.parametrize("arguments", [["incidents"], ["ledger", "show"], ["why", "returns:1"]], ids=" ".join)
def test_a_narrow_terminal_gets_lines_that_fit_and_ids_that_are_whole(on_terminal, read_home, run, arguments):
    home = ["--home", str(read_home)]
    printed = on_terminal(*arguments, *home)
    assert printed
    assert max(map(len, printed.splitlines())) <= 80
    told = run(*arguments, *home, "--json").out
    ids = set(re.findall(r"(?:inc|alarm)_[0-9a-f]{20}|returns:\d", told)) & set(shown(run, arguments, home))
    assert all(one in printed for one in ids)
    assert ids


def test_a_pipe_that_closes_early_is_no_error(read_home):
    command = f"{sys.executable} -c 'from loopline.cli.main import main; main()' ledger show --json --home {read_home} | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["status", "incidents", "ledger", "tokens", "freeze", "tables", "predict"])
def test_a_command_that_trains_nothing_loads_nothing_to_train_with(name):
    heavy = {"sklearn", "skl2onnx", "litestar"}
    code = f"import sys, loopline.cli.{name}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert heavy & set(loaded) == set()
