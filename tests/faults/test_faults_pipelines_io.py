"""Syncs and writes fail, or are the last thing that a process does: what was told is there, and the rest is done once."""

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from importlib import import_module
from pathlib import Path

import msgspec
import pytest

from loopline.storage.statements import Session, Sql

HERE = Path(__file__).parent
STEPS = 6
SYNCS, WRITES = "fsync,fdatasync", "pwrite64"
_RESULTS = Sql("select result from step where execution = ? and state = 'done'")
_CHECK = Sql("pragma integrity_check")

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        shutil.which("strace") is None, reason="strace fails calls of the system (apt-get install strace)"
    ),
]


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    return import_module("pipeline_site"), import_module("figures")


def broken_run(site, execution, calls, what):
    """Run the execution with a fault at these calls; whether it met one, the return code, and what it said."""
    tracing = [
        "strace",
        "-f",
        "-qq",
        "-o",
        str(site.folder / "calls"),
        "-e",
        f"trace={calls}",
        "-e",
        f"inject={calls}:{what}",
    ]
    program = [sys.executable, str(HERE / "inline_program.py"), str(site.home.settings.home), execution]
    done = subprocess.run(
        [*tracing, *program], env=site.environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode in {0, 3, -9, 137}, done.stderr
    met = bool({"INJECTED", "killed"} & set(re.findall(r"INJECTED|killed", (site.folder / "calls").read_text())))
    return met, done.returncode, done.stdout.strip()


def sound(site, execution):
    """The file is whole, and whatever a done step refers to is there and is what it was."""
    with closing(Session(site.home.database)) as session, session.transaction() as sql:
        assert sql.rows(_CHECK) == [("ok",)]
        results = [msgspec.json.decode(row[0]) for row in sql.rows(_RESULTS, execution)]
    for one in results:
        assert len(site.home.engine.artifacts.get(one["digest"])) == one["size"] == 5000
    return len(results)


@pytest.mark.parametrize(
    ("name", "calls", "fault", "short", "codes"),
    [
        ("killed at a sync", SYNCS, "signal=SIGKILL:when={}", (2, 9), {-9, 137}),
        ("killed at a write", WRITES, "signal=SIGKILL:when={}", (3, 40), {-9, 137}),
        ("EIO from a sync", SYNCS, "error=EIO:when={}", (4, 6), {0, 3}),
        ("ENOSPC from a write on", WRITES, "error=ENOSPC:when={}+", (6, 31), {3}),
    ],
)
def test_what_was_told_is_there_and_the_rest_is_done_once(tmp_path, tools, name, calls, fault, short, codes):
    module, figures = tools
    tried, recovery, said = 0, [], Counter()
    with closing(module.Site(tmp_path, lease=0.5, name=f"io_{name.replace(' ', '_')}")) as site:
        site.environment["LOOPLINE_DURABLE"] = "1"
        for place in figures.points(short, 7 if calls == WRITES else 1):
            site.seen.unlink(missing_ok=True)
            execution = site.submit_fresh("grown", count=STEPS)
            met, code, told = broken_run(site, execution, calls, fault.format(place))
            if not met:
                assert tried, "the fault met nothing"
                break
            assert code in codes
            tried, said[told or "killed"] = tried + 1, said[told or "killed"] + 1
            before = site.lines()
            assert sound(site, execution) >= len(before) - 1  # a step begins once the one before it is committed
            began = time.monotonic()
            if told == "failed":  # an artifact could not be kept: the step failed, and says so
                site.resume(execution)
            program = [sys.executable, str(HERE / "inline_program.py"), str(site.home.settings.home), execution]
            subprocess.run(program, env=site.environment, check=True, capture_output=True, timeout=120)
            recovery.append(time.monotonic() - began)
            assert site.state(execution) == "done"
            assert site.result(execution) == bytes(5000 - STEPS) + bytes(range(STEPS))
            assert sound(site, execution) == STEPS + 1
            module.check_once(site.events(execution))
            again = [one for one, times in Counter(site.lines()).items() if times > 1]
            assert again in ([], before[-1:])  # at most the one that it was at
    figures.tell(name, tried=tried, survived=tried, recovery=recovery, said=dict(said))
