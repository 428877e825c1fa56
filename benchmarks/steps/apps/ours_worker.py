"""Loopline as it is put into operation: executions are submitted, `loopline worker` runs each step in a process of its pool."""

import os
import subprocess
import sys
import time
from contextlib import closing

from ours_pipelines import fan_out, sequence
from timing import DATABASE, FOLDER, both

from loopline.config import Settings
from loopline.pipelines.declare import Pipeline
from loopline.pipelines.executions import submit
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.planning import plan
from loopline.pipelines.reading import get_execution, result_of

ENVIRONMENT = {**os.environ, "LOOPLINE_HOME": str(FOLDER / "home"), "LOOPLINE_DATABASE_URL": DATABASE}
LOOK = 0.005


def main() -> None:
    with closing(PipelineHome(Settings.read(FOLDER / "home", ENVIRONMENT))) as home:

        def run(pipeline: Pipeline, count: int) -> object:
            planned = plan(pipeline, {"count": count}, home.engine.artifacts)
            with home.database.transaction() as tx:
                execution, _ = submit(tx, home.engine, planned, fresh=True)
            while True:
                with home.database.reading() as tx:
                    if get_execution(tx, execution).state != "running":
                        return result_of(tx, execution, home.engine.artifacts)
                time.sleep(LOOK)

        program = "from loopline.cli.main import main; main()"
        log = (FOLDER / "worker.log").open("wb")
        worker = subprocess.Popen([sys.executable, "-c", program, "worker"], env=ENVIRONMENT, stdout=log, stderr=log)
        try:
            both(lambda count: run(sequence, count), lambda count: run(fan_out, count))
        finally:
            worker.terminate()
            worker.wait()


main()
