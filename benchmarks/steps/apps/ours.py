"""Loopline in one process: each step's result is on disk, with its history, before the next begins. The cache is passed over."""

import os
from contextlib import closing

from ours_pipelines import fan_out, sequence
from timing import DATABASE, FOLDER, both

from loopline.config import Settings
from loopline.pipelines.declare import Pipeline
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.reading import result_of

ENVIRONMENT = {**os.environ, "LOOPLINE_HOME": str(FOLDER / "home"), "LOOPLINE_DATABASE_URL": DATABASE}


def main() -> None:
    with closing(PipelineHome(Settings.read(FOLDER / "home", ENVIRONMENT))) as home:

        def run(pipeline: Pipeline, count: int) -> object:
            execution = home.run(pipeline, {"count": count}, fresh=True)
            with home.database.reading() as tx:
                return result_of(tx, execution, home.engine.artifacts)

        both(lambda count: run(sequence, count), lambda count: run(fan_out, count))


main()
