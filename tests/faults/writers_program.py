"""`python writers_program.py FOLDER WRITERS SECONDS`: so many processes commit events to one SQLite file; says what it cost them, as JSON."""

import json
import multiprocessing
import random
import sys
import time
from contextlib import closing

from loopline.errors import LooplineError
from loopline.storage.database import Database
from loopline.storage.migrations import upgrade
from loopline.storage.statements import Session, Sql

_EVENT = Sql("insert into event (execution, at, kind, number) values (?, 0, 'test', ?)")
_COUNT = Sql("select count(*) from event")
_BETWEEN = 0.05


def write(url, name, seconds, said):
    """Commit, rest a moment, commit."""
    took, errors, draw = [], [], random.Random(name)
    with closing(Database.open(url)) as database, closing(Session(database)) as session:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.perf_counter()
            try:
                with session.transaction() as sql:
                    sql.change(_EVENT, f"writer {name}", len(took))
            except LooplineError as error:
                errors.append(error.code)
            except Exception as error:
                errors.append(repr(error))
            took.append(time.perf_counter() - began)
            time.sleep(draw.uniform(0, 2 * _BETWEEN))
    said.put((took, errors))


def main() -> None:
    folder, writers, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    url = f"sqlite:///{folder}/loopline.db"
    with closing(Database.open(url)) as database:
        upgrade(database)
    forking = multiprocessing.get_context("fork")
    said = forking.Queue()
    processes = [forking.Process(target=write, args=(url, name, seconds, said)) for name in range(writers)]
    for one in processes:
        one.start()
    found = [said.get(timeout=seconds + 120) for _ in processes]
    for one in processes:
        one.join()
    took = sorted(each for times, _ in found for each in times)
    with closing(Database.open(url)) as database, closing(Session(database)) as session, session.transaction() as sql:
        rows = sql.rows(_COUNT)[0][0]

    def quantile(share: float) -> float:
        return round(took[int(share * (len(took) - 1))] * 1e3, 1)

    figures = {"p50_ms": quantile(0.5), "p99_ms": quantile(0.99), "longest_ms": quantile(1)}
    errors = [one for _, failed in found for one in failed]
    least = min(len(times) for times, _ in found)
    print(json.dumps({"commits": len(took), "rows": rows, "errors": errors, "least": least, **figures}))


if __name__ == "__main__":
    main()
