"""Monitoring, side by side: Loopline, Evidently, NannyML, alibi-detect and river.

    python benchmarks/monitoring.py [--quick] [--keep FILE] [--parts faults,held_out,nulls,changes,shifts,size] [--only loopline,river]
                                    [--seeds 20] [--peer-seeds 2] [--rows 10000000] [--limit 600] [--json]

`faults`: the flights of 2013, a model of their first months, and faults planted from known rows on in the later ones: a unit changes, a category is
split, the weather feed stands still, nulls leak in, a carrier's behaviour changes with its inputs unchanged. `held_out`: the same faults in streams that
nothing was looked at for. Reported: pages before the fault, the share of faults found, the delay in rows, the rank of the true cause. A fault counts
as costly where it raises the mean log loss of the rows since by more than two hundredths of its level, which is Loopline's default tolerance.
`nulls`: streams of 10 million rows where nothing happens, of independent rows and of rows that share their day's luck. `changes`: river's annotated
series. `shifts`: single series that are made, where nothing moves, or the level or the spread does. `size`: seconds and memory for 1M x 25 and 10M x 25.

All get the same rows, the same reference and the same days (Evidently weeks, as it takes seconds a report). Each runs as its documentation shows, in an
environment of its own under `.venv-peers`, made on demand, one after the other, on one thread. A peer's run that takes longer than the limit is stopped,
which is told. `--quick` is a little of every part.

Each finding is said as it comes. With `--keep` it is also written down, a line of JSON each; the same command goes on from there.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from serving.environments import CannotInstall
from watching.changes import change_points
from watching.contestants import EVERYBODY
from watching.flights import flights_stream
from watching.held_out import HELD_OUT
from watching.incidents import trials
from watching.kept import Kept
from watching.nulls import null_streams
from watching.plan import FULL, QUICK, Plan
from watching.report import goals, markdown
from watching.rounds import Rounds, Runner, runner_of
from watching.shifts import shifts
from watching.size import sizes

PARTS = ("faults", "held_out", "nulls", "changes", "shifts", "size")


def main() -> None:
    arguments = _arguments()
    kept = Kept(arguments.keep)
    if len(kept):
        _say(f"{len(kept)} findings are in {arguments.keep} already; without that file they are measured anew")
    with tempfile.TemporaryDirectory(prefix="watching-") as place:
        rounds = Rounds([], _plan(arguments), Path(place), kept, _say)
        try:
            rounds.runners = _runners(arguments.only, rounds.stopped)
            for part in arguments.parts:
                _measure(part, rounds)
        except KeyboardInterrupt:
            rounds.stopped.append("the run was interrupted: this is what it had found")
    if arguments.json:
        said = {"results": rounds.found, "goals": goals(rounds.found), "stopped": rounds.stopped}
        print(json.dumps(said, default=vars, indent=1))
    else:
        print(markdown(rounds.found, rounds.stopped))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a little of every part, in about a quarter of an hour")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="write each finding there, and go on from those there"
    )
    parser.add_argument("--parts", type=_among(PARTS), default=PARTS)
    names = [one.name for one in EVERYBODY]
    parser.add_argument("--only", type=_among(names), default=names, help="names, with commas: " + ",".join(names))
    parser.add_argument("--seeds", type=_seeds, help="how many, or the first and the last, as 10-19")
    parser.add_argument("--peer-seeds", type=int, help="peers get the seeds below this")
    parser.add_argument("--rows", type=int, help="rows of a null stream and of the largest size")
    parser.add_argument("--limit", type=int, help="seconds that a run of a peer may take")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _among(known: Sequence[str]) -> Callable[[str], list[str]]:
    def chosen(text: str) -> list[str]:
        names = text.split(",")
        unknown = sorted(set(names) - set(known))
        if unknown:
            message = f"there is no {', '.join(unknown)}"
            raise argparse.ArgumentTypeError(message)
        return [name for name in known if name in names]

    return chosen


def _seeds(text: str) -> range:
    first, _, last = text.rpartition("-")
    return range(int(first), int(last) + 1) if first else range(int(last))


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = QUICK if arguments.quick else FULL
    if arguments.seeds is not None:
        plan = replace(plan, seeds=arguments.seeds, held_out_seeds=arguments.seeds)
    if arguments.peer_seeds is not None:
        plan = replace(plan, peer_seeds=arguments.peer_seeds, peer_kinds=())
    if arguments.rows is not None:
        plan = replace(plan, null_rows=arguments.rows, size_rows=sorted({1_000_000, arguments.rows}))
    return plan if arguments.limit is None else replace(plan, limit=arguments.limit)


def _runners(names: Sequence[str], stopped: list[str]) -> list[Runner]:
    found = []
    for one in EVERYBODY:
        if one.name in names:
            try:
                found.append(runner_of(one))
            except CannotInstall as error:
                stopped.append(f"{one.title} cannot be installed here: {error}")
    return found


def _measure(part: str, rounds: Rounds) -> None:
    if part == "faults":
        trials(rounds, part, {"flights": flights_stream}, rounds.plan.seeds)
    elif part == "held_out":
        streams = {name: HELD_OUT[name] for name in rounds.plan.held_out}
        try:
            trials(rounds, part, streams, rounds.plan.held_out_seeds)
        except CannotInstall as error:
            rounds.stopped.append(f"held_out: {error}")
    elif part == "nulls":
        null_streams(rounds)
    elif part == "changes":
        change_points(rounds)
    elif part == "shifts":
        shifts(rounds)
    else:
        sizes(rounds)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
