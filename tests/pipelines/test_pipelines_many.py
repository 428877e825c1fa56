"""Many steps in bounded memory, and that no claim has to sort or read all that is ready."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import loopline.pipelines.healing.store
import loopline.pipelines.store  # noqa: F401 - their tables are part of the database that the tests get
from loopline.clock import SystemClock
from loopline.pipelines import claims, completion
from loopline.pipelines.advance import complete
from loopline.pipelines.arguments import NOTHING
from loopline.pipelines.claims import Room, claim
from loopline.pipelines.completion import Taker
from loopline.pipelines.engine import Engine
from loopline.pipelines.executions import submit
from loopline.pipelines.planning import plan
from loopline.storage.artifacts import open_artifacts
from loopline.storage.database import Database
from loopline.storage.migrations import upgrade
from loopline.storage.statements import Statements
from loopline.testing.handing_over import long

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


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_finds_a_step_by_its_key_before_its_table_was_analyzed(database, tmp_path):
    engine = Engine(open_artifacts(str(tmp_path), durable=False), SystemClock())
    with database.transaction() as tx:
        submit(tx, engine, plan(long, {"length": 400}, engine.artifacts))
    ran = []
    with database.transaction() as tx:
        sql = Statements.of(tx)
        run = sql._execute
        sql._execute = lambda text, values: ran.append((text, values)) or run(text, values)
        for taker in (None, Taker("w", Room(), None), Taker("w", Room(), "")):
            claimed = claim(engine, sql, "w")
            assert complete(engine, sql, claimed, NOTHING, worker="w", taker=taker) is not None
            run("update step set state = 'ready' where state = 'running'")
        scans = []
        for text, values in ran:
            lines = [row[0] for row in run(f"explain {text}", values)]
            scans += [line for line in lines if re.search(r"Scan .*on step\b", line)]
    used = {re.search(r"using (\w+)|Seq", one)[1] for one in scans}
    assert used == {"pk_step", "ix_step_ready"}
