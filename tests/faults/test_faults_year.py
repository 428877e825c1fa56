"""A loop through a period in which everything fails: sources are away, lie or come in another shape, the process is killed, the disk is full,
the machine's clock jumps. It ends with the predictions and the ledger that it has without all that, and tells what it got over.

In short with a small loop; `make faults` runs the flights of a year.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from loopline.tables.tables import Tables

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "year_program.py"
FULL = bool(os.environ.get("LOOPLINE_FAULTS"))
TINY = (ROOT / "tests" / "e2e" / "tiny_loop.py", "2024-01-01", "2024-02-10")
FLIGHTS = (ROOT / "examples" / "flights" / "loop.py", "2013-01-01", "2014-01-01")
NOTHING = {"fail": 0.0, "garbage": 0.0, "other_shape": 0.0, "seed": 1}
EVERYTHING = {"fail": 0.12, "garbage": 0.1, "other_shape": 0.05, "seed": 1}
WITHIN = 7200.0 if FULL else 400.0


@contextmanager
def disk(folder: Path, size: str):
    """A file system of its own that can be filled."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    if made.returncode:
        pytest.skip("needs to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def start(period, home: Path, plan, said: Path) -> subprocess.Popen:
    loop, begin, until = period
    command = [sys.executable, str(PROGRAM), str(loop), str(home), begin, until, json.dumps(plan), str(said)]
    with said.with_suffix(".log").open("ab") as log, said.with_suffix(".json").open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=log, cwd=ROOT)


def finish(process: subprocess.Popen) -> int:
    return process.wait(timeout=WITHIN)


def full_disk(folder: Path, seconds: float) -> None:
    """No room for a while."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb") as file:
            while file.write(b"\0" * (1 << 20)):
                pass
    except OSError:
        pass
    time.sleep(seconds)
    ballast.unlink()


def through_faults(period, folder: Path, said: Path, *, kills: int, fills: int, pause: float) -> Counter:
    """Run it to its end, killing it and filling its disk now and then; how often it was started again, and why."""
    rng, happened = random.Random(5), Counter()
    coming = rng.sample(["kill"] * kills + ["fill"] * fills, kills + fills)
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        process = start(period, folder / "home", EVERYTHING, said)
        while process.poll() is None:
            assert time.monotonic() < end, "it does not end"
            try:
                process.wait(timeout=rng.uniform(0.3, 1.0) * pause)
            except subprocess.TimeoutExpired:
                fault = coming.pop() if coming else None
                if fault == "kill":
                    process.send_signal(signal.SIGKILL)
                elif fault == "fill":
                    full_disk(folder, 1.0)
                happened[fault or "went on"] += 1
        if process.returncode == 0 and not coming:
            return happened
        if process.returncode == 0:
            coming.clear()  # it was done before all came
            return happened
        happened["started again"] += 1
    raise AssertionError("it does not end")


def predictions(home: Path) -> dict[str, pl.DataFrame]:
    tables = Tables(home / "tables")
    return {
        name: tables.open(name).read().sort("prediction_id")
        for name in tables.names()
        if name.startswith("predictions.")
    }


def ledgers(said: Path) -> list[str]:
    """What the last run printed."""
    comparison = json.loads(said.with_suffix(".json").read_text())[0]["comparison"]
    return [policy["ledger"] for policy in comparison["policies"]]


def told_errors(home: Path) -> dict:
    main = "from loopline.cli.main import main; main()"
    command = [sys.executable, "-c", main, "errors", "--home", str(home), "--since", "5000d", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.heavy
@pytest.mark.slow
def test_a_period_of_faults_ends_as_one_without(tmp_path):
    period = FLIGHTS if FULL else TINY
    kills, fills, pause = (20, 6, 60.0) if FULL else (2, 1, 5.0)
    calm = tmp_path / "calm"
    began = time.monotonic()
    assert finish(start(period, calm, NOTHING, tmp_path / "calm.said")) == 0, (tmp_path / "calm.log").read_text()
    alone = time.monotonic() - began
    said = tmp_path / "faulty.said"
    with disk(tmp_path / "disk", "8g" if FULL else "512m") as folder:
        began = time.monotonic()
        happened = through_faults(period, folder, said, kills=kills, fills=fills, pause=pause)
        took = time.monotonic() - began
        planned = Counter(line.split()[0] for line in said.read_text().splitlines())
        expected, found = predictions(calm), predictions(folder / "home")
        assert found.keys() == expected.keys()
        unmeasured = ["latency_ms"]
        for name, rows in expected.items():
            assert rows.height
            assert found[name].drop(unmeasured).equals(rows.drop(unmeasured))
        assert ledgers(said) == ledgers(tmp_path / "calm.said")
        report = told_errors(folder / "home")
    assert planned["fail"] > 5
    assert planned["garbage"] > 2
    assert planned["other_shape"] > 0
    assert happened["started again"] > 0
    told = report["found"]
    assert told["executions"] == told["healed"] > 0
    stopped = kills + fills  # who is stopped between a fault and its note leaves none
    assert planned["fail"] + planned["other_shape"] - stopped <= told["failures"]
    assert {one["name"] for one in told["patterns"]} >= {"ConnectionError"}
    faults = ", ".join(f"{count} x {name}" for name, count in sorted((planned + happened).items()))
    sys.stdout.write(f"{faults}; without them {alone:.0f} s, with them {took:.0f} s; all survived\n")
