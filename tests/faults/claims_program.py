"""`python claims_program.py HOME EXECUTION WORKERS`: so many workers in threads claim and commit until it has ended; the claims, as JSON: each with its
number, its attempt, and whether it was handed over.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from loopline.config import Settings
from loopline.pipelines.claims import Room
from loopline.pipelines.codecs import keep
from loopline.pipelines.completion import Taker
from loopline.pipelines.engine import worker_name
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.perform import Performed
from loopline.pipelines.taking import commit, take
from loopline.storage.statements import Session, Sql

_STATE = Sql("select state from execution where id = ?")


def work(home, execution):
    """Claim, give a result without running anything, commit and take the next; until it has ended."""
    worker, claimed, taken = worker_name(), [], None
    taker, performed = Taker(worker, Room(), execution), Performed(keep(1, home.engine.artifacts))
    with closing(Session(home.database)) as session:
        while True:
            with session.transaction() as sql:
                after = None
                if taken is not None:
                    after = commit(home.engine, sql, taken, performed, worker=worker, taker=taker)
                    if after is None:
                        raise SystemExit(f"{worker} was fenced at {claimed[-1]}")
                taken, _ = take(home.engine, sql, worker, room=Room(), execution=execution, after=after)
                state = sql.rows(_STATE, execution)[0][0]
            if taken is not None:
                handed = after is not None and after.handed is not None
                claimed.append((taken.claimed.number, taken.claimed.attempt, handed))
            elif state != "running":
                return claimed
            else:
                time.sleep(0.02)


def main() -> None:
    place, execution, workers = sys.argv[1:]
    with (
        closing(PipelineHome(Settings.read(Path(place), dict(os.environ)))) as home,
        ThreadPoolExecutor(int(workers)) as pool,
    ):
        claimed = [one for found in pool.map(lambda _: work(home, execution), range(int(workers))) for one in found]
    print(json.dumps(claimed))


if __name__ == "__main__":
    main()
