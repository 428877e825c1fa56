"""A fan-out of so many steps in a process of its own: `python many_steps.py COUNT` prints what came and the most memory it took."""

import json
import resource
import sys
import tempfile
from typing import Any

import loopline as ll
from loopline.config import Settings
from loopline.pipelines import reading
from loopline.pipelines.home import PipelineHome


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
def wide(count: int) -> Any:
    return total(add.each(numbers(count)))


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = PipelineHome(Settings.read(folder, {}))
        home.run(wide, {"count": 10})
        before = megabytes()
        execution = home.run(wide, {"count": count})
        with home.database.reading() as tx:
            result = reading.result_of(tx, execution, home.engine.artifacts)
        home.close()
    sys.stdout.write(json.dumps({"result": result, "more_mb": megabytes() - before}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
