"""`python -m loopline.server.scoring --home PATH`: a scoring process."""

import argparse
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from loopline.config import Settings
from loopline.errors import LooplineError
from loopline.server.scoring.process import run


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m loopline.server.scoring", description="Serve predictions.")
    parser.add_argument("--home", type=Path, help="the installation's folder (default: LOOPLINE_HOME)")
    parser.add_argument("--host", help="address to listen on (default: LOOPLINE_HOST or 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: LOOPLINE_SCORING_PORT or 8322)")
    parser.add_argument(
        "--behind", type=float, default=0.0, metavar="SECONDS", help="date predictions this far behind the real time"
    )
    chosen = parser.parse_args()
    settings = Settings.read(chosen.home)
    host = chosen.host or settings.host
    port = settings.scoring_port if chosen.port is None else chosen.port
    try:
        run(replace(settings, host=host, scoring_port=port), behind=timedelta(seconds=chosen.behind))
    except LooplineError as error:
        sys.exit(f"{error}\n{error.remedy}")


if __name__ == "__main__":
    main()
