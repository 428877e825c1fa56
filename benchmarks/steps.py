"""A trivial step, side by side: Loopline, four peers, and the least that could do.

    python benchmarks/steps.py [--rounds 3] [--steps 1000] [--only loopline,limit-sqlite] [--json]

Each step adds one to what the step before gave; a fan-out gives each of a list to a step of its own and sums what comes. Every
answer is checked. The contestants take turns (A B C A B C), each turn with a new database and a new process; medians of
the rounds are shown. `one step alone` is what an execution of a single step takes: what is paid once an execution is in there. Wall
time is what a caller waits; processor time is that of all processes that took part, the database's server among them.

Loopline has SQLite with synchronous=FULL and PostgreSQL with fsync: the result of each step is on disk before the next begins, with its
claim, attempt and events, and is kept for the cache; nothing is taken from the cache. The peers run as their documentation shows a
sequence and a fan-out, on what they use by default (Prefect's and Dagster's SQLite, Metaflow's files) and are given fewer steps where a
thousand would take hours. They live in environments of their own under `.venv-peers`, made on demand.

Limits: one durable commit of a row of a hundred bytes a step, on the same library, file system and server.
"""

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path

from loopline.testing.postgres import running_postgres
from steps.contestants import EVERYBODY
from steps.report import goals, markdown
from steps.rounds import Plan, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000, help="at most so many in sequence, and in a fan-out")
    parser.add_argument("--patience", type=int, default=600, help="seconds that a turn may take")
    parser.add_argument("--only", help="names, with commas: " + ",".join(one.name for one in EVERYBODY))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    names = set(arguments.only.split(",")) if arguments.only else {one.name for one in EVERYBODY}
    unknown = names - {one.name for one in EVERYBODY}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    chosen = [one for one in EVERYBODY if one.name in names]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="steps-")))
        remote = any(one.database == "postgresql" for one in chosen)
        server = stack.enter_context(running_postgres(durable=True)) if remote else None
        results = measure(Plan(folder, arguments.rounds, arguments.steps, arguments.patience, server), chosen)
    said = {"results": results, "goals": goals(results)}
    print(json.dumps(said, indent=1) if arguments.json else markdown(results))


if __name__ == "__main__":
    main()
