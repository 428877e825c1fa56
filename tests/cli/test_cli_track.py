"""`loopline track -- COMMAND` and `loopline runs`."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

LOOPLINE = str(Path(sys.executable).parent / "loopline")

TRAIN = """
import sys, loopline as ll
print("trained"); print("warned", file=sys.stderr)
with ll.track("inner", params={"lr": float(sys.argv[1])}) as run:
    for step in range(60):
        run.log({"loss": float(sys.argv[1]) / (step + 1)}, step=step)
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def tracked(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOPLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOOPLINE_DURABLE", "0")
    monkeypatch.setenv("NPM_TOKEN", "warned")
    (tmp_path / "train.py").write_text(TRAIN)
    for lr, code in (("0.1", 0), ("0.5", 3)):
        done = run("track", "--", sys.executable, "train.py", lr, str(code), "--token", "s3cret")
        assert done.code == code
        assert "trained" in done.out
    return run


def test_a_command_is_a_run_that_ll_track_joins(tracked):
    failed, good = tracked("runs", "--json").value
    assert [one["status"] for one in (failed, good)] == ["failed", "finished"]
    assert (good["experiment"], good["params"], good["metrics"]) == ("train", {"lr": 0.1}, {"loss": 0.1 / 60})
    assert failed["facts"]["exit_code"] == 3
    assert failed["facts"]["error"] == "exit code 3: ***"
    assert failed["facts"]["command"][-2:] == ["--token", "***"]
    assert set(failed["artifacts"]) == {"environment.json", "stdout.txt", "stderr.txt"}
    kept = tracked("runs", "artifact", good["run_id"][:12], "stdout.txt", "--json").value
    assert Path(kept["path"]).read_text() == "trained\n"
    assert tracked("runs", "artifact", good["run_id"], "stdout.txt").code == 2


def test_runs_are_shown_and_compared(tracked):
    failed, good = tracked("runs", "list", "--json").value
    shown = tracked("runs", "show", good["run_id"])
    assert "█" in shown.out
    assert len(tracked("runs", "show", good["run_id"], "--json").value["history"]) == 60
    made = tracked("runs", "compare", good["run_id"], failed["run_id"], "--json").value
    assert made["params"] == [{"name": "lr", "values": [0.1, 0.5], "better": None, "best": []}]
    assert made["metrics"][0]["best"] == [0]
    assert "*" in tracked("runs", "compare").out
    assert tracked("runs", "--by", "metrics.loss", "--json").value[0]["run_id"] == good["run_id"]


def test_a_run_in_a_repository_knows_its_commit(tracked, tmp_path):
    for command in (
        ["init", "-q"],
        ["add", "train.py"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], check=True, cwd=tmp_path)
    (tmp_path / "train.py").write_text(TRAIN + "\n")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=True, cwd=tmp_path, capture_output=True, text=True)
    tracked("track", "--name", "n", "--json", "--", sys.executable, "train.py", "0.2", "0")
    facts = tracked("runs", "--experiment", "n", "--json").value[0]["facts"]
    assert facts["git_commit"] == commit.stdout.strip()
    assert facts["git_diff"].startswith("sha256:")


def test_with_json_only_json_is_printed(tracked):
    done = tracked("track", "--json", "--", sys.executable, "train.py", "0.2", "4")
    assert (done.code, done.value["exit_code"]) == (4, 4)
    assert "trained" in done.err


@pytest.mark.parametrize(("arguments", "code"), [(["--", "no-such-program"], 3), ([], 2)])
def test_a_command_that_cannot_start_is_told(tracked, arguments, code):
    assert tracked("track", *arguments).code == code


def test_a_home_without_runs_is_told(run, tmp_path):
    done = run("runs", "--home", str(tmp_path / "none"))
    assert (done.code, (tmp_path / "none").exists()) == (3, False)


def test_a_signal_reaches_the_command(tracked, tmp_path):
    process = subprocess.Popen(
        [LOOPLINE, "track", "--name", "slow", "--", sys.executable, "-c", "import time; time.sleep(60)"]
    )
    deadline = time.monotonic() + 30
    while not (found := [one for one in tracked("runs", "--json").value if one["experiment"] == "slow"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (found[0]["status"], found[0]["stale"]) == ("running", False)
    time.sleep(1)
    os.kill(process.pid, 15)
    assert process.wait(30) == 143
    assert tracked("runs", "show", found[0]["run_id"], "--json").value["status"] == "killed"
