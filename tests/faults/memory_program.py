"""`python memory_program.py FOLDER STEPS`: a fan-out of so many steps in this process; says what memory it held at most, as JSON."""

import json
import os
import resource
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import loopline as ll
from loopline.config import Settings
from loopline.pipelines import reading
from loopline.pipelines.home import PipelineHome


@ll.step
def numbers(count: int) -> list[int]:
    return list(range(count))


@ll.step
def double(value: int) -> int:
    return 2 * value


@ll.step
def total(values: list[int]) -> int:
    return sum(values)


@ll.pipeline
def doubled(count: int) -> Any:
    return total(double.each(numbers(count)))


def main() -> None:
    folder, count = Path(sys.argv[1]) / sys.argv[2], int(sys.argv[2])
    with closing(PipelineHome(Settings.read(folder, {**os.environ, "LOOPLINE_DURABLE": "0"}))) as home:
        execution = home.run(doubled, {"count": count})
        with home.database.reading() as tx:
            state = reading.get_execution(tx, execution).state
            result = reading.result_of(tx, execution, home.engine.artifacts)
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    print(json.dumps({"state": state, "result": result, "peak_mb": peak}))


if __name__ == "__main__":
    main()
