"""Many steps: the benchmark in short, and that no claim has to sort or read all that is ready."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loopline.pipelines import claims
from loopline.storage.database import Database
from loopline.storage.migrations import upgrade

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "pipelines.py"


@pytest.mark.slow
def test_two_thousand_steps_take_little_more_memory_than_ten(tmp_path):
    command = [sys.executable, str(BENCHMARK), "--steps", "2000", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    many = json.loads(done.stdout)["many"]
    assert many["right"] is True
    assert many["more_mb"] < 40


@pytest.mark.parametrize("statement", [claims._CLAIM, claims._CLAIM_OF, claims._CLAIM_WITHIN, claims._CLAIM_WITHIN_OF])
def test_a_claim_takes_the_first_of_an_index_without_sorting(tmp_path, statement):
    database = Database.open(f"sqlite:///{tmp_path}/loopline.db")
    upgrade(database)
    with database.reading() as tx:
        values = tuple(["[]"] * statement.sqlite.count("?"))
        plan = [row[3] for row in tx.exec_driver_sql(f"explain query plan {statement.sqlite}", values)]
    database.close()
    assert "SCAN step USING INDEX ix_step_ready" in plan
    assert [line for line in plan if "ORDER BY" in line] == []
