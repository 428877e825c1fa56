"""The monitoring benchmark tells each finding as it comes and goes on where it was stopped. Its contestants here are small programs that answer alike."""

import json
import sys
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SAYS = """
import json, sys, time
task = json.load(open(sys.argv[1]))
open(task["asked"], "a").write("x")
time.sleep(task["slow"])
print(json.dumps({"answer": {"pages": [task["row"]]}}))
"""


@dataclass(frozen=True)
class Found:
    contestant: str
    row: int


@pytest.fixture
def watching(monkeypatch, tmp_path):
    """Asks both contestants for two pieces: the rounds after that, what was said, and how often a program was started."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    contestants, kept, plan, rounds = (
        import_module(f"watching.{name}") for name in ("contestants", "kept", "plan", "rounds")
    )
    (tmp_path / "says.py").write_text(SAYS)
    ours = contestants.Contestant("loopline", "Loopline", str(tmp_path / "says.py"), "ours")
    peer = replace(ours, name="slow", title="Slow", role="peer")
    runners = [rounds.Runner(one, Path(sys.executable)) for one in (ours, peer)]

    def measure(*, slow=0, limit=60):
        (tmp_path / "asked").write_text("")
        said = []
        keep = kept.Kept(tmp_path / "kept.jsonl")
        one = rounds.Rounds(runners, replace(plan.QUICK, limit=limit), tmp_path, keep, said.append)
        for row in (1, 2):
            for runner in runners:
                name, late = runner.contestant.name, slow if runner.contestant is peer else 0
                task = {"asked": str(tmp_path / "asked"), "row": row, "slow": late}
                one.ask(("part", f"row {row}"), runner, partial(dict, task), partial(judge, name), Found)
        return one, said, len((tmp_path / "asked").read_text())

    return measure


def judge(name, answer):
    return Found(name, answer["pages"][0])


def test_findings_are_kept_and_not_asked_for_again(watching, tmp_path):
    first, said, asked = watching()
    assert first.found == {"part": [Found(name, row) for row in (1, 2) for name in ("loopline", "slow")]}
    assert (len(said), asked) == (4, 4)
    again, said, asked = watching()
    assert (again.found, said, asked) == (first.found, [], 0)
    lines = (tmp_path / "kept.jsonl").read_text()
    (tmp_path / "kept.jsonl").write_text(lines[:-20])
    again, said, asked = watching()
    assert (again.found, len(said), asked) == (first.found, 1, 1)
    assert (tmp_path / "kept.jsonl").read_text() == lines


def test_a_peer_that_takes_too_long_is_told_and_not_asked_for_the_rest(watching, tmp_path):
    first, said, _ = watching(slow=600, limit=1)
    assert first.found == {"part": [Found("loopline", 1), Found("loopline", 2)]}
    assert first.stopped == ["Slow, part row 1: stopped after 1 s"]
    assert len(said) == 3
    again, said, asked = watching(slow=600, limit=1)
    assert (again.found, again.stopped, said, asked) == (first.found, first.stopped, [], 0)
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert [line["contestant"] for line in kept if "stopped" in line] == ["slow"]
