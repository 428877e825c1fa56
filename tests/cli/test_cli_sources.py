"""`loopline sources`: what is listed, what a probe says, and how it exits."""

import json
import subprocess
import sys
from pathlib import Path

LOOP = """
import loopline as ll
loop = ll.Loop("shop")
loop.read(ll.files("data/*.csv", zone="UTC"), name="orders", key="id", event_time="at", known_at="at", freshness="2h")
loop.read(ll.sql("env:NO_SUCH_URL", "select 1"), name="refunds", key="id", event_time="at", known_at="at")
"""


def loopline(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from loopline.cli.main import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_a_probe_fails_where_a_source_does_and_says_what_to_do(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("id,at\n1,2024-01-01 10:00\n2,2024-01-02 10:00\n")
    (tmp_path / "loop.py").write_text(LOOP)
    done = loopline(tmp_path, "sources", "--probe", "loop.py", "--until", "2024-01-02", "--json")
    assert done.returncode == 8
    orders, refunds = json.loads(done.stdout)
    assert (orders["source"], orders["ok"], orders["rows"], orders["newest"]) == (
        "orders",
        True,
        1,
        "2024-01-01T10:00:00Z",
    )
    assert (refunds["ok"], refunds["code"]) == (False, "source.no_secret")
    assert "export NO_SUCH_URL=" in refunds["remedy"]
    fine = loopline(tmp_path, "sources", "--probe", "loop.py", "--source", "orders", "--window", "2d")
    assert fine.returncode == 0
    assert not (tmp_path / ".loopline").exists()
    loopline(tmp_path, "apply", "loop.py")
    listed = json.loads(loopline(tmp_path, "sources", "--json").stdout)
    assert [(one["table"], one["state"], one["freshness"]) for one in listed[0]] == [
        ("shop.orders", "not asked", "2h"),
        ("shop.refunds", "not asked", None),
    ]
