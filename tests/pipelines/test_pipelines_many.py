"""Many steps in bounded memory, and that no claim has to sort or read all that is ready."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loopline.pipelines import claims, completion
from loopline.storage.database import Database
from loopline.storage.migrations import upgrade

STEPS = Path(__file__).parent / "many_steps.py"


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.heavy)])
def test_many_steps_take_little_more_memory_than_ten(count):
    done = subprocess.run([sys.executable, str(STEPS), str(count)], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["result"] == count * (count + 1) // 2
    assert told["more_mb"] < 40


@pytest.mark.parametrize(
    "statement",
    [*claims._CLAIM.alone, *claims._CLAIM_WITHIN.alone, completion._HAND_OVER, completion._HAND_OVER_OF],
)
def test_a_claim_takes_the_first_of_an_index_without_sorting(tmp_path, statement):
    database = Database.open(f"sqlite:///{tmp_path}/loopline.db")
    upgrade(database)
    with database.reading() as tx:
        values = tuple(["[]"] * statement.sqlite.count("?"))
        plan = [row[3] for row in tx.exec_driver_sql(f"explain query plan {statement.sqlite}", values)]
    database.close()
    assert {"SCAN step USING INDEX ix_step_ready", "SCAN step USING COVERING INDEX ix_step_ready"} & set(plan)
    assert [line for line in plan if "ORDER BY" in line] == []
