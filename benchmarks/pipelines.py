"""What a trivial step costs beside a bare commit, and what memory many steps take: `python benchmarks/pipelines.py`.

Both write to the same disk by turns, with full syncs, so that what else the disk does falls on both.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import loopline as ll
from loopline.config import Settings
from loopline.pipelines import reading
from loopline.pipelines.executions import submit
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.inline import Inline
from loopline.pipelines.planning import plan
from loopline.storage.database import Database
from loopline.storage.statements import Session, Sql

ROUNDS, STEPS = 20, 200
_MAKE = Sql("create table bare (number integer primary key, body text)")
_ADD = Sql("insert into bare (body) values (?)")


@ll.step
def add(value: int) -> int:
    return value + 1


@ll.step
def numbers(count: int) -> list[int]:
    return list(range(count))


@ll.step
def total(values: list[int]) -> int:
    return sum(values)


@ll.pipeline
def chain(start: int, count: int) -> Any:
    value: Any = start
    for _ in range(count):
        value = add(value)
    return value


@ll.pipeline
def wide(count: int) -> Any:
    return total(add.each(numbers(count)))


def commits(database: Database, count: int) -> float:
    """Milliseconds a bare commit."""
    with closing(Session(database)) as session:
        begun = time.perf_counter()
        for _ in range(count):
            with session.transaction() as sql:
                sql.change(_ADD, "x" * 100)
        return (time.perf_counter() - begun) * 1000 / count


def steps(home: PipelineHome, start: int, count: int) -> float:
    """Milliseconds a trivial step."""
    planned = plan(chain, {"start": start, "count": count}, home.engine.artifacts)
    with home.database.transaction() as tx:
        execution, _ = submit(tx, home.engine, planned)
    begun = time.perf_counter()
    Inline(home.engine, home.database, home.code_path, planned.functions).run(execution)
    return (time.perf_counter() - begun) * 1000 / count


def megabytes() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def many(home: PipelineHome, count: int) -> dict[str, Any]:
    """A fan-out of so many steps: seconds, and how much more memory it took than one of ten."""
    home.run(wide, {"count": 10})
    before, begun = megabytes(), time.perf_counter()
    execution = home.run(wide, {"count": count})
    seconds = time.perf_counter() - begun
    with home.database.reading() as tx:
        right = reading.result_of(tx, execution, home.engine.artifacts) == count * (count + 1) // 2
    return {"steps": count, "right": right, "seconds": round(seconds, 2), "more_mb": round(megabytes() - before, 1)}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--steps", type=int, default=10_000, help="how many steps the fan-out has")
    asked.add_argument("--rounds", type=int, default=ROUNDS)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        home = PipelineHome(Settings.read(folder, {}))
        bare = Database.open(f"sqlite:///{folder}/bare.db")
        with bare.transaction() as tx:
            tx.exec_driver_sql(_MAKE.sqlite)
        pairs = [(commits(bare, STEPS), steps(home, start * 10**6, STEPS)) for start in range(given.rounds)]
        found = {
            "bare_commit_ms": round(statistics.median(one for one, _ in pairs), 3),
            "step_ms": round(statistics.median(one for _, one in pairs), 3),
            "least_bare_commit_ms": round(min(one for one, _ in pairs), 3),
            "least_step_ms": round(min(one for _, one in pairs), 3),
            "ratio": round(statistics.median(step / commit for commit, step in pairs), 2),
            "many": many(home, given.steps),
        }
        print(json.dumps(found, indent=2))
        home.close()
        bare.close()


if __name__ == "__main__":
    main()
