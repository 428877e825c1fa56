"""Runs one execution in its own process: `python inline_program.py HOME EXECUTION`. Says what it could not do, and leaves with 3."""

import os
import sys
from contextlib import closing
from pathlib import Path

from loopline.config import Settings
from loopline.errors import LooplineError
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.inline import Inline


def main() -> int:
    home, execution = sys.argv[1:]
    try:
        with closing(PipelineHome(Settings.read(Path(home), dict(os.environ)))) as opened:
            print(Inline(opened.engine, opened.database, opened.code_path).run(execution))
    except LooplineError as error:
        print(error.code)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
