"""Monitoring, side by side: Loopline, Evidently, NannyML, alibi-detect and river.

    python benchmarks/monitoring.py [--seeds 20] [--peer-seeds 2] [--parts faults,held_out,nulls,changes,size] [--only loopline,river] [--json]

`faults`: the flights of 2013, a model of their first months, and faults planted from known rows on in the later ones: a unit changes, a category is
split, the weather feed stands still, nulls leak in, a carrier's behaviour changes with its inputs unchanged. `held_out`: the same faults in streams that
nothing was looked at for. Reported: pages before the fault, the share of faults found, the delay in rows, the rank of the true cause. A fault counts
as costly where it raises the mean log loss of the rows since by more than two hundredths of its level, which is Loopline's default tolerance.
`nulls`: streams of 10 million rows where nothing happens, of independent rows and of rows that share their day's luck. `changes`: river's annotated
series. `size`: seconds and memory for 1M x 25 and 10M x 25.

All get the same rows, the same reference and the same days (Evidently weeks, as it takes seconds a report). Each runs as its documentation shows, in an
environment of its own under `.venv-peers`, made on demand, one after the other, on one thread.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from watching.changes import change_points
from watching.contestants import EVERYBODY
from watching.faults import ISSUE
from watching.flights import flights_stream
from watching.held_out import HELD_OUT
from watching.incidents import trials
from watching.nulls import null_streams
from watching.report import goals, markdown
from watching.rounds import runner_of
from watching.size import sizes

PARTS = ("faults", "held_out", "nulls", "changes", "size")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--peer-seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of a null stream and of the largest size")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--only", help="names, with commas: " + ",".join(one.name for one in EVERYBODY))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    names = set(arguments.only.split(",")) if arguments.only else {one.name for one in EVERYBODY}
    parts = set(arguments.parts.split(","))
    if names - {one.name for one in EVERYBODY} or parts - set(PARTS):
        parser.error(
            f"there is no {', '.join(sorted((names - {one.name for one in EVERYBODY}) | (parts - set(PARTS))))}"
        )
    runners = [runner_of(one) for one in EVERYBODY if one.name in names]
    results = {}
    with tempfile.TemporaryDirectory(prefix="watching-") as place:
        folder = Path(place)
        if "faults" in parts:
            results["faults"] = trials(
                [flights_stream], ISSUE, arguments.seeds, runners, arguments.peer_seeds, folder, _say
            )
        if "held_out" in parts:
            results["held_out"] = trials(HELD_OUT, ISSUE, arguments.seeds, runners, arguments.peer_seeds, folder, _say)
        if "nulls" in parts:
            results["nulls"] = null_streams(runners, arguments.rows, folder, _say)
        if "changes" in parts:
            results["changes"] = change_points(runners, folder, _say)
        if "size" in parts:
            results["size"] = sizes(runners, arguments.rows, folder, _say)
    told = [f"{one.contestant.title}: {one.cannot}" for one in runners if one.cannot]
    if arguments.json:
        print(json.dumps({"results": results, "goals": goals(results), "cannot": told}, default=vars, indent=1))
    else:
        print(markdown(results, told))


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
